"""What is refused, by name: one line each that says what, why, and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cmc_sdk.errors import DataError

__all__ = ["DicomError", "Refusal", "RefusalName"]

RefusalName = Literal[
    "not DICOM",
    "damaged",
    "link out of the folder",
    "not an image volume",
    "no pixels",
    "pixel format",
    "colour",
    "localizer",
    "mosaic",
    "no geometry",
    "directions",
    "pixel spacing",
    "frames",
    "too few slices",
    "duplicates",
    "not one stack",
    "missing slices",
    "variable spacing",
    "too large",
    "rescale",
    "decoder",
    "changed",
]


@dataclass(frozen=True)
class Refusal:
    """Something that does not become a volume.

    Args:
        name: Which rule; one of a fixed list, for programs.
        what: What was given and which rule it breaks, without a patient's name.
        mend: The way out.
        files: How many files it is about.
        series_instance_uid: Of which series; empty where files belong to none.
    """

    name: RefusalName
    what: str
    mend: str
    files: int = 0
    series_instance_uid: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.what}; {self.mend}"

    def error(self) -> DicomError:
        """The same as an error to raise."""
        return DicomError(self.name, self.what, mend=self.mend)


class DicomError(DataError):
    """DICOM that cannot become a volume.

    Args:
        name: Which rule.
        what: What was given and which rule it breaks.
        mend: The way out.
    """

    def __init__(self, name: RefusalName, what: str, *, mend: str) -> None:
        super().__init__(f"{name}: {what}", mend=mend)
        self.name: RefusalName = name
        self.reason = what

    def refusal(self, *, files: int = 1, series_instance_uid: str = "") -> Refusal:
        """The same as an entry of a scan's list."""
        return Refusal(self.name, self.reason, self.mend, files=files, series_instance_uid=series_instance_uid)
