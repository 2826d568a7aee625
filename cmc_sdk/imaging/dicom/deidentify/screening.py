"""Which files must not leave, and what a person should look at in those that may."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["what_to_look_at", "why_left_out"]

# Objects whose bulk data is made of pixels, contours or segments; anything else may hold words that no rule reaches.
_ALLOWED = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR",
    "1.2.840.10008.5.1.4.1.1.128": "PET",
    "1.2.840.10008.5.1.4.1.1.128.1": "Legacy Converted Enhanced PET",
    "1.2.840.10008.5.1.4.1.1.130": "Enhanced PET",
    "1.2.840.10008.5.1.4.1.1.66.4": "SEG",
    "1.2.840.10008.5.1.4.1.1.66.7": "label map SEG",
    "1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT",
}
_HEAD = {"HEAD", "BRAIN", "SKULL", "HEADNECK"}


def why_left_out(dataset: Dataset) -> str | None:
    """Why a file must not leave, or None.

    Args:
        dataset: As it was read.
    """
    from pydicom.uid import UID

    if "TransferSyntaxUID" not in dataset.file_meta or not dataset.get("SOPInstanceUID"):
        return "damaged: no instance UID or transfer syntax"

    kind = UID(str(dataset.get("SOPClassUID", "")))
    if str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        return "burned-in annotation: its pixels hold words"
    if str(kind) in _ALLOWED:
        return None
    name = kind.name if kind and kind.name != str(kind) else "of a kind that DICOM does not define"
    if "Secondary Capture" in name:
        return "secondary capture: its pixels may hold words"
    if "Ultrasound" in name:
        return "ultrasound: its pixels usually hold words"
    return f"{name}: its content cannot be checked for words"


def what_to_look_at(dataset: Dataset) -> list[str]:
    """Reasons to look at the pixels of a file, one sentence each.

    Args:
        dataset: As it was read.
    """
    found = []
    image = dataset.get("SOPClassUID") not in {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.3"}
    if image and "BurnedInAnnotation" not in dataset:
        found.append("does not say whether words are burned in (BurnedInAnnotation is absent): look at the pixels")
    words = str(dataset.get("ImageType", "")).upper()
    if "SECONDARY" in words:
        found.append("is a derived or captured image (ImageType SECONDARY): look at the pixels for burned-in words")
    face = str(dataset.get("RecognizableVisualFeatures", "")).strip().upper() != "NO"
    if image and face and str(dataset.get("BodyPartExamined", "")).strip().upper() in _HEAD:
        found.append("shows a head, from which a face can be reconstructed: this command does not remove it")
    return found
