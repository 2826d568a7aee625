"""Data sets in which every attribute holds a value that can be found again, and the search for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

MARK = "ZQXW"
MARKS = (b"ZQXW", b"19370214", b"134711", b"086Y", b"8675309", b"1.2.826.0.1.99887766")
"""What a planted value holds, by kind: text, date, time, age, number, UID."""
TEXT = {"PN", "LO", "SH", "ST", "LT", "UT", "UC", "AE", "CS"}
BYTES = {"OB", "OW", "UN", "OB or OW"}
# Without these a file is no CT image any more; the series' writer sets them.
NEEDED = {
    "SOPClassUID", "Modality", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "SamplesPerPixel", "PhotometricInterpretation", "PixelData", "FloatPixelData", "DoubleFloatPixelData",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "NumberOfFrames", "BurnedInAnnotation",
    "LUTData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
}  # fmt: skip


def planted_value(vr: str, number: int) -> object | None:
    """A value of a kind that can be found; None for kinds that hold numbers only."""
    if vr in TEXT:
        return f"{MARK}{number:05d}"
    if vr in BYTES:
        return f"{MARK}{number:06d}".encode()
    return {
        "UR": f"http://{MARK}.example/{number}",
        "UI": f"1.2.826.0.1.99887766.{number}",
        "DA": "19370214",
        "TM": "134711.5",
        "DT": "19370214134711.5",
        "AS": "086Y",
    }.get(vr)


def standard_tags() -> Iterator[tuple[int, str]]:
    """(tag, VR) of every attribute of the standard outside file meta and directories."""
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if 0x0008 <= tag >> 16 < 0xFFF0 and keyword and keyword not in NEEDED:
            yield tag, vr


def plant(dataset: Dataset, tag: int, vr: str, *, number: int) -> bool:
    """Set one attribute unless it is there; whether it can hold a planted value."""
    value = planted_value(vr, number)
    if value is None or tag in dataset:
        return False
    dataset.add(DataElement(Tag(tag), "OB" if vr == "OB or OW" else vr, value))
    return True


def plant_everywhere(dataset: Dataset) -> int:
    """Plant every attribute of the standard, each sequence with items that are planted too, and private blocks."""
    tags = list(standard_tags())
    count = sum(plant(dataset, tag, vr, number=number) for number, (tag, vr) in enumerate(tags))
    some = [(tag, vr) for tag, vr in tags if planted_value(vr, 0) is not None][::7]
    for place, tag in enumerate(tag for tag, vr in tags if vr == "SQ"):
        item = Dataset()
        for number, (inner, vr) in enumerate(some[place % 60 :: 60]):
            count += plant(item, inner, vr, number=number)
        plant_private(item, group=0x0029)
        deep = Dataset()
        deep.PatientName = f"{MARK}^DEEP"
        deep.CodeValue, deep.CodingSchemeDesignator, deep.CodeMeaning = f"{MARK}1", "SCT", f"{MARK} meaning"
        item.add(DataElement(Tag(0x00400555), "SQ", Sequence([deep])))
        item.add(DataElement(Tag(0x00089215), "SQ", Sequence([deep])))
        dataset.add(DataElement(Tag(tag), "SQ", Sequence([item])))
    plant_private(dataset, group=0x0019)
    dataset.add(DataElement(Tag(0x60003000), "OW", f"{MARK}overlay ".encode()))
    dataset.add(DataElement(Tag(0x50003000), "OW", f"{MARK}curve   ".encode()))
    dataset.add(DataElement(Tag(0xFFFCFFFC), "OB", f"{MARK}padding ".encode()))
    return count


def plant_private(dataset: Dataset, *, group: int) -> None:
    block = dataset.private_block(group, f"{MARK} MAKER", create=True)
    for element, vr in enumerate(("LO", "PN", "UN", "DA", "UI", "OB", "ST")):
        block.add_new(element, vr, planted_value(vr, element))


def save_planted(dataset: Dataset, path: Path) -> Path:
    """Write it with a preamble and a file meta that are planted too."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.SourceApplicationEntityTitle = f"{MARK}AE"
    meta.PrivateInformationCreatorUID = "1.2.826.0.1.99887766.1"
    meta.PrivateInformation = f"{MARK}information".encode() + b" "
    preamble = (MARK.encode() * 32)[:128]
    path.parent.mkdir(parents=True, exist_ok=True)
    FileDataset(str(path), dataset, preamble=preamble, file_meta=meta).save_as(path, enforce_file_format=True)
    return path


def marks_in(folder: Path) -> list[str]:
    """Which planted values stand in the bytes or the name of any file under `folder`."""
    found = []
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        found += [
            f"{path}: {mark.decode()}"
            for mark in MARKS
            if mark in content or mark.decode() in str(path.relative_to(folder))
        ]
    return found
