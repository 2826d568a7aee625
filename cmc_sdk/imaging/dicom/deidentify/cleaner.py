"""One call's memory of new UIDs and names, and the cleaning of one data set with it."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from typing import TYPE_CHECKING

from cmc_sdk.imaging.dicom.deidentify.profile import Action, action_for
from cmc_sdk.imaging.dicom.deidentify.vocabulary import MAKERS, SCHEMES, is_known_word, is_standard_uid, known_meaning

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

__all__ = ["DUMMY_TEXT", "Cleaner"]

DUMMY_TEXT = "ANONYMISED"
_DUMMIES: dict[str, str] = {
    **dict.fromkeys(("PN", "LO", "SH", "ST", "LT", "UT", "UC", "AE", "CS"), DUMMY_TEXT),
    "AS": "000Y", "DA": "19000101", "TM": "000000", "DT": "19000101000000", "UR": "http://anonymised.invalid",
    "DS": "0", "IS": "0",
}  # fmt: skip
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CODE_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")
# Coded strings that an object must have; the others go where their word is unknown.
_DUMMY_WORDS = {"ImageType": "OTHER", "FrameType": "OTHER", "ContentLabel": DUMMY_TEXT}
_LABELS = {"SegmentLabel": ("Segment", "SegmentNumber"), "ROIName": ("ROI", "ROINumber")}


class Cleaner:
    """Cleans data sets so that equal UIDs stay equal and equal patients stay equal, within one call of the command.

    New UIDs and names are random: nobody can work back from them, and what was what is kept in memory only.
    """

    def __init__(self) -> None:
        self._uids: dict[str, str] = {}
        self._patients: dict[str, str] = {}
        self.counts: dict[tuple[int, Action], int] = Counter()
        self.private = 0

    def clean(self, dataset: Dataset) -> str:
        """Clean `dataset` in place, its sequences too, and say what the patient is called now."""
        patient = self._patient(dataset)
        self._clean(dataset)
        dataset.PatientName = patient
        dataset.PatientID = patient
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = "cmc-sdk, basic profile of PS3.15"
        dataset.DeidentificationMethodCodeSequence = [_code("113100", "DCM")]
        dataset.LongitudinalTemporalInformationModified = "REMOVED"
        return patient

    def uid(self, old: str) -> str:
        """The new UID in the place of `old`, the same one every time; UIDs of the standard stay."""
        from pydicom.uid import generate_uid

        if is_standard_uid(old):
            return old
        if old not in self._uids:
            self._uids[old] = str(generate_uid(prefix=None))
        return self._uids[old]

    def _patient(self, dataset: Dataset) -> str:
        key = "\0".join(_text(dataset, word) for word in ("PatientID", "IssuerOfPatientID"))
        if not key.strip("\0"):
            key = "\1".join(_text(dataset, word) for word in ("PatientName", "PatientBirthDate")).strip("\1")
        key = key or "\2" + _text(dataset, "StudyInstanceUID")
        if key not in self._patients:
            self._patients[key] = f"P{secrets.token_hex(4).upper()}"
        return self._patients[key]

    def _clean(self, dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            if tag.is_private:
                del dataset[tag]
                self.private += 1
                continue
            element = _read(dataset, tag)
            if element is None:
                del dataset[tag]
                self.counts[int(tag), "removed"] += 1
                continue
            action = action_for(int(tag), element.VR)
            if element.VR == "SQ" and action in {"cleaned", "new UID"}:
                for item in element.value:
                    self._clean(item)
                continue
            if action == "cleaned":
                action = self._clean_value(dataset, element)
            elif action == "emptied":
                dataset[tag].value = self._label(dataset, element.keyword) or ("" if element.VR == "UI" else None)
            elif action in {"replaced", "new UID"}:
                dataset[tag].value = self._dummy(element)
            if action == "removed":
                del dataset[tag]
            if action != "kept":
                self.counts[int(tag), action] += 1
        _clean_code(dataset)

    def _clean_value(self, dataset: Dataset, element: DataElement) -> Action:
        """What the profile does not name: keep what is known to be harmless."""
        tag, vr = element.tag, element.VR
        values = [str(item) for item in _values(element)]
        if element.keyword == "SpecificCharacterSet":
            return "removed"  # what stays is ASCII
        if vr in {"IS", "DS"}:
            return "kept" if all(_NUMBER.fullmatch(item.strip()) or not item.strip() for item in values) else "removed"
        if vr == "UI":
            fresh = [self.uid(item) if item else item for item in values]
            if fresh == values:
                return "kept"
            dataset[tag].value = fresh if len(fresh) > 1 else fresh[0]
            return "new UID"
        if vr == "CS":
            if all(is_known_word(item.strip()) for item in values):
                return "kept"
            if element.keyword not in _DUMMY_WORDS:
                return "removed"
            dummy = _DUMMY_WORDS[element.keyword]
            dataset[tag].value = [item if is_known_word(item.strip()) else dummy for item in values]
            return "replaced"
        if not any(item.strip() for item in values) or element.keyword in {
            *_CODE_VALUES,
            "CodingSchemeDesignator",
            "CodeMeaning",
        }:
            return "kept"
        if element.keyword == "Manufacturer" and values[0].strip().upper() in MAKERS:
            return "kept"
        if element.keyword == "RescaleType":
            if is_known_word(values[0].strip()):
                return "kept"
            dataset[tag].value = "US"
            return "replaced"
        dataset[tag].value = self._label(dataset, element.keyword) or self._dummy(element)
        return "replaced"

    def _label(self, dataset: Dataset, keyword: str) -> str | None:
        """A name for a segment or a region by its number; None, which is empty, for everything else."""
        word, number = _LABELS.get(keyword, ("", ""))
        return f"{word} {int(dataset.get(number) or 0)}" if word else None

    def _dummy(self, element: DataElement) -> object:
        """A value of the same kind that says nothing; of UIDs, new ones."""
        if element.VR == "UI":
            fresh = [self.uid(str(item)) for item in _values(element)]
            return fresh if len(fresh) > 1 else "".join(fresh)
        if element.VR in _DUMMIES:
            return _DUMMIES[element.VR]
        return b"" if element.VR.startswith("O") or element.VR == "UN" else 0


def _clean_code(dataset: Dataset) -> None:
    """Give a coded concept the meaning that the standard gives it, and one that nobody knows the meaning of none."""
    keyword = next((word for word in _CODE_VALUES if word in dataset), None)
    scheme = _text(dataset, "CodingSchemeDesignator")
    if keyword is None and "CodeMeaning" not in dataset:
        if scheme and scheme not in SCHEMES:
            dataset.CodingSchemeDesignator = "99ANON"
        return
    meaning = known_meaning(_text(dataset, keyword), scheme) if keyword else None
    if meaning is not None:
        dataset.CodeMeaning = meaning[:64]
        return
    for word in _CODE_VALUES:
        if word in dataset:
            delattr(dataset, word)
    dataset.CodeValue = DUMMY_TEXT
    dataset.CodingSchemeDesignator = "99ANON"
    dataset.CodeMeaning = DUMMY_TEXT


def _code(value: str, scheme: str) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = known_meaning(value, scheme)
    return item


def _read(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    """The element, or None where its bytes are not what its VR says: such a value is not worth keeping."""
    try:
        element = dataset[tag]
        _ = element.value
    except Exception:  # whatever a hostile value makes of a converter
        return None
    return element


def _values(element: DataElement) -> list[object]:
    value = element.value
    if value is None:
        return []
    return list(value) if element.VM > 1 else [value]


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "")
    except Exception:
        return ""
