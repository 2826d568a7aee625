"""De-identification: nothing planted comes out, and nothing that a program needs goes missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from cmc_sdk.errors import DataError, InputError
from cmc_sdk.imaging.dicom.deidentify import anonymise_folder
from cmc_sdk.imaging.dicom.deidentify.cleaner import Cleaner
from tests.imaging.dicom.deidentify.planted import (
    MARK,
    marks_in,
    plant,
    plant_everywhere,
    plant_private,
    planted_value,
    save_planted,
    standard_tags,
)
from tests.imaging.dicom.series import SeriesSpec, classic, make_voxels, write_series

SPEC = SeriesSpec(size_vox=(8, 6, 3))


def slice_of(spec: SeriesSpec = SPEC, *, index: int = 0) -> Dataset:
    return classic(spec, make_voxels(spec)[:, :, index], index=index)


def outputs(folder: Path) -> list[pydicom.FileDataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]


@pytest.mark.slow
def test_nothing_that_is_planted_in_any_attribute_comes_out(tmp_path: Path) -> None:
    dataset = slice_of()
    count = plant_everywhere(dataset)
    assert count > 3000, "the standard has more attributes than that"
    dataset.PixelData = dataset.PixelData + f"{MARK}after the last pixel ".encode()
    save_planted(dataset, tmp_path / f"{MARK} name" / f"{MARK}.dcm")
    assert len(marks_in(tmp_path)) > 5
    report = anonymise_folder(tmp_path / f"{MARK} name", tmp_path / "out")
    assert marks_in(tmp_path / "out") == []
    assert report.files == 1
    assert report.private > 100
    assert report.pixel_places == 1
    (done,) = outputs(tmp_path / "out")
    assert done.PatientName == done.PatientID != ""
    assert not [element for element in done.iterall() if element.tag.is_private]


TAGS = list(standard_tags())
PLANTABLE = [item for item in TAGS if planted_value(item[1], 0) is not None]
SEQUENCES = [tag for tag, vr in TAGS if vr == "SQ"]
ITEMS = st.recursive(
    st.lists(st.sampled_from(PLANTABLE), min_size=1, max_size=6),
    lambda inner: st.tuples(st.lists(st.sampled_from(PLANTABLE), max_size=4), st.sampled_from(SEQUENCES), inner),
    max_leaves=5,
)


def build(dataset: Dataset, tree: object) -> None:
    leaves, sequence, inner = tree if isinstance(tree, tuple) else (tree, None, None)
    for number, (tag, vr) in enumerate(leaves):
        plant(dataset, tag, vr, number=number)
    if sequence is not None:
        item = Dataset()
        build(item, inner)
        plant_private(item, group=0x0021)
        dataset.add(DataElement(Tag(sequence), "SQ", Sequence([item, item])))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=ITEMS, implicit=st.booleans())
def test_nothing_planted_at_any_depth_survives(tree: object, implicit: bool) -> None:
    dataset = slice_of()
    build(dataset, tree)
    Cleaner().clean(dataset)
    text = dataset.to_json()
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, implicit
    pydicom.filewriter.write_dataset(buffer, dataset)
    for content in (text.encode(), buffer.getvalue()):
        for mark in (MARK.encode(), b"19370214", b"134711", b"086Y", b"99887766"):
            assert mark not in content


def test_geometry_and_pixels_stay_bit_for_bit(tmp_path: Path) -> None:
    spec = SeriesSpec(size_vox=(9, 7, 5), spacing_mm=(0.7, 0.9, 2.5), shift_mm=(0.3, 0.2), slope=2.0, intercept=-1024.0)
    for multi_frame, modality in ((False, "CT"), (True, "MR")):
        folder, out = tmp_path / modality, tmp_path / f"{modality}-out"
        write_series(folder, SeriesSpec(**{**spec.__dict__, "multi_frame": multi_frame, "modality": modality}))
        anonymise_folder(folder, out)
        before = {bytes(item.PixelData): item for item in map(pydicom.dcmread, sorted(folder.iterdir()))}
        after = outputs(out)
        assert len(after) == len(before) > 0
        for item in after:
            original = before[bytes(item.PixelData)]
            assert item.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID
            assert geometry(item) == geometry(original)
            assert geometry(item)


GEOMETRY = {
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope", "Rows",
    "RescaleIntercept", "Columns", "BitsStored", "PixelRepresentation", "NumberOfFrames", "InstanceNumber",
}  # fmt: skip


def geometry(dataset: Dataset) -> list[tuple[str, str]]:
    return [(item.keyword, str(item.value)) for item in dataset.iterall() if item.keyword in GEOMETRY]


def test_equal_uids_stay_equal_and_two_calls_give_others(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for number, (patient, study) in enumerate((("A1", "1.2.3"), ("A1", "1.2.3"), ("B2", "1.2.4"))):
        extra = {"PatientID": patient, "StudyInstanceUID": study, "FrameOfReferenceUID": f"{study}.9"}
        write_series(source / str(number), SeriesSpec(seed=number, extra=extra))
    first, second = tmp_path / "first", tmp_path / "second"
    report = anonymise_folder(source, first)
    anonymise_folder(source, second)
    assert report.patients == 2
    found = outputs(first)
    assert len(found) == 15
    assert len({item.SOPInstanceUID for item in found}) == 15
    assert len({item.SeriesInstanceUID for item in found}) == 3
    assert len({item.StudyInstanceUID for item in found}) == 2
    assert len({(item.PatientID, item.StudyInstanceUID, item.FrameOfReferenceUID) for item in found}) == 2
    assert not {item.SeriesInstanceUID for item in found} & {item.SeriesInstanceUID for item in outputs(second)}
    assert all(item.SOPInstanceUID == item.file_meta.MediaStorageSOPInstanceUID for item in found)
    assert all(item.SOPClassUID.name == "CT Image Storage" for item in found)


def test_references_follow_the_new_uids(tmp_path: Path) -> None:
    first, second = slice_of(index=0), slice_of(index=1)
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = first.SOPClassUID, first.SOPInstanceUID
    second.SourceImageSequence = Sequence([reference])
    save_planted(first, tmp_path / "in" / "a.dcm")
    save_planted(second, tmp_path / "in" / "b.dcm")
    anonymise_folder(tmp_path / "in", tmp_path / "out")
    a, b = outputs(tmp_path / "out")
    assert b.SourceImageSequence[0].ReferencedSOPInstanceUID == a.SOPInstanceUID
    assert b.SourceImageSequence[0].ReferencedSOPClassUID == a.SOPClassUID


def test_dates_are_handled_as_the_profile_says() -> None:
    dataset = slice_of()
    dataset.StudyDate, dataset.StudyTime = "19370214", "134711"
    dataset.AcquisitionDate, dataset.SeriesDate, dataset.PatientBirthDate = "19370214", "19370214", "19370214"
    dataset.InstanceCreationDate, dataset.PatientAge = "19370214", "086Y"
    Cleaner().clean(dataset)
    for keyword in ("StudyDate", "StudyTime", "PatientBirthDate", "AcquisitionDate"):  # Z, and X/Z
        assert keyword in dataset
        assert not dataset[keyword].value
    assert dataset.SeriesDate == dataset.InstanceCreationDate == "19000101"  # X/D
    assert "PatientAge" not in dataset  # X
    assert dataset.LongitudinalTemporalInformationModified == "REMOVED"
    assert dataset.DeidentificationMethodCodeSequence[0].CodeValue == "113100"


def test_what_says_how_a_scan_was_made_stays() -> None:
    dataset = slice_of()
    dataset.Manufacturer, dataset.KVP, dataset.BodyPartExamined = "SIEMENS", "120", "ABDOMEN"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "SMITH JOHN"]
    dataset.DiffusionBValue, dataset.PatientPosition, dataset.RescaleType = 800.0, "HFS", "HU"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "10200004", "SCT", "Liver of John Smith"
    dataset.AnatomicRegionSequence = Sequence([code])
    Cleaner().clean(dataset)
    assert (dataset.Manufacturer, dataset.KVP, dataset.BodyPartExamined) == ("SIEMENS", 120, "ABDOMEN")
    assert list(dataset.ImageType) == ["ORIGINAL", "PRIMARY", "AXIAL", "OTHER"]
    assert (dataset.DiffusionBValue, dataset.PatientPosition, dataset.RescaleType) == (800.0, "HFS", "HU")
    assert dataset.AnatomicRegionSequence[0].CodeMeaning.startswith("Liver")
    assert "John" not in dataset.to_json()


def test_a_b_value_in_a_private_attribute_is_kept_in_the_standards(tmp_path: Path) -> None:
    spec = SeriesSpec(size_vox=(8, 6, 3), modality="MR")
    dataset = slice_of(spec)
    dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", "800")
    save_planted(dataset, tmp_path / "in" / "a.dcm")
    anonymise_folder(tmp_path / "in", tmp_path / "out")
    (done,) = outputs(tmp_path / "out")
    assert done.DiffusionBValue == 800
    assert not [element for element in done if element.tag.is_private]


def with_comment(marker: bytes, start: bytes, rest: bytes) -> bytes:
    text = f"{MARK} in a comment".encode()
    registration = b"\x00\x01" if start == b"\xff\x4f" else b""
    return start + marker + (2 + len(registration) + len(text)).to_bytes(2, "big") + registration + text + rest


@pytest.mark.parametrize(
    ("syntax", "start", "marker"),
    [
        ("1.2.840.10008.1.2.4.50", b"\xff\xd8", b"\xff\xfe"),
        ("1.2.840.10008.1.2.4.70", b"\xff\xd8", b"\xff\xe1"),
        ("1.2.840.10008.1.2.4.90", b"\xff\x4f", b"\xff\x64"),
    ],
)
def test_comments_inside_compressed_frames_are_blanked_in_place(
    syntax: str, start: bytes, marker: bytes, tmp_path: Path
) -> None:
    frame = with_comment(marker, start, b"\xff\x90rest of the frame" if start == b"\xff\x4f" else b"\xff\xdarest")
    dataset = slice_of()
    dataset.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    (tmp_path / "in").mkdir()
    dataset.save_as(tmp_path / "in" / "a.dcm", enforce_file_format=True)
    assert anonymise_folder(tmp_path / "in", tmp_path / "out").pixel_places == 1
    (done,) = outputs(tmp_path / "out")
    assert marks_in(tmp_path / "out") == []
    assert len(done.PixelData) == len(dataset.PixelData)
    assert done.PixelData.rstrip(b"\0")[-4:] == dataset.PixelData.rstrip(b"\0")[-4:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned-in annotation"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}, "ultrasound"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "Encapsulated PDF Storage: its content"),
        ({"SOPClassUID": "1.2.3.4"}, "of a kind that DICOM does not define"),
    ],
)
def test_what_may_hold_words_in_its_pixels_is_left_out_by_name(
    change: dict[str, str], reason: str, tmp_path: Path
) -> None:
    save_planted(slice_of(), tmp_path / "in" / "good.dcm")
    bad = slice_of(index=1)
    for keyword, value in change.items():
        setattr(bad, keyword, value)
    save_planted(bad, tmp_path / "in" / "bad.dcm")
    (tmp_path / "in" / "notes.txt").write_text(MARK)
    report = anonymise_folder(tmp_path / "in", tmp_path / "out")
    assert report.files == 1
    assert sorted(key.startswith(reason) for key in report.left_out) == [False, True]
    assert report.left_out["not readable as DICOM"] == 1
    assert any("BurnedInAnnotation is absent" in text for text in report.warnings)
    assert marks_in(tmp_path / "out") == []
    assert json.loads((tmp_path / "out" / "anonymise.json").read_text())["files"] == 1


def test_a_value_that_was_missed_stops_everything(tmp_path: Path) -> None:
    dataset = slice_of()
    dataset.PatientName = "Planted^Person"
    pixels = np.frombuffer(dataset.PixelData, np.uint8).copy()
    pixels[10:24] = np.frombuffer(b"Planted^Person", np.uint8)
    dataset.PixelData = pixels.tobytes()
    save_planted(dataset, tmp_path / "in" / "a.dcm")
    with pytest.raises(DataError, match="stands elsewhere in it") as caught:
        anonymise_folder(tmp_path / "in", tmp_path / "out")
    assert "Planted" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_values_that_stand_in_every_file_by_right_stop_nothing(tmp_path: Path) -> None:
    dataset = slice_of()
    dataset.StationName = "CMC-SDK"  # the writer's name, in the file meta
    dataset.StudyInstanceUID = "1.2.840.10008.5.1"  # the beginning of its class
    dataset.FrameOfReferenceUID = pydicom.uid.PYDICOM_IMPLEMENTATION_UID
    dataset.StudyDescription, dataset.ReferringPhysicianName = "ORIGINAL", "SIEMENS"
    save_planted(dataset, tmp_path / "in" / "a.dcm")
    assert anonymise_folder(tmp_path / "in", tmp_path / "out").files == 1


def test_broken_files_and_second_copies_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    good = save_planted(slice_of(), folder / "a.dcm").read_bytes()
    (folder / "copy.dcm").write_bytes(good)
    (folder / "cut.dcm").write_bytes(good[:200])
    (folder / "noise.dcm").write_bytes(good[:132] + b"\xff" * 400)
    nameless = slice_of(index=1)
    del nameless.SOPInstanceUID
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    pydicom.dataset.FileDataset(str(folder), nameless, preamble=b"\0" * 128, file_meta=meta).save_as(
        folder / "no-uid.dcm"
    )
    broken = slice_of(index=2)
    broken.Rows = "many"
    broken["Rows"].VR = "LO"
    save_planted(broken, folder / "rows.dcm")
    report = anonymise_folder(folder, tmp_path / "out")
    assert report.files == 1
    assert sum(report.left_out.values()) == 5
    assert report.left_out["another file of an instance that is there already"] == 1
    assert report.left_out["damaged: no instance UID or transfer syntax"] >= 1
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 1
    assert marks_in(tmp_path / "out") == []


def test_wrong_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="is not a folder"):
        anonymise_folder(tmp_path / "none", tmp_path / "out")
    with pytest.raises(InputError, match="lies inside"):
        anonymise_folder(tmp_path / "in", tmp_path / "in" / "out")
    with pytest.raises(DataError, match="holds nothing to anonymise: it is empty"):
        anonymise_folder(tmp_path / "in", tmp_path / "out")
