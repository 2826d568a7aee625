"""The version of cmc-sdk, stated once: packages, records, DICOM objects and `cmc --version` take it from here."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
