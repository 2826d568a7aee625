"""De-identification: the basic profile of DICOM PS3.15, and stricter where the profile is silent."""

from __future__ import annotations

from cmc_sdk.imaging.dicom.deidentify.anonymise import AnonymiseReport, anonymise_folder

__all__ = ["AnonymiseReport", "anonymise_folder"]
