"""`cmc data`: data lists, phantoms, importers, and DICOM studies."""

from __future__ import annotations

from cmc_sdk.cli.data.list_commands import command

__all__ = ["command"]
