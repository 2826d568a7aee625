"""What the written objects say: patient, references, codes, colours, gaps, the run record; and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from cmc_sdk.errors import DataError, GeometryError, InputError
from cmc_sdk.imaging.classes import ClassTable, Code, SegmentClass
from cmc_sdk.imaging.dicom.reading.read_series import read_dicom
from cmc_sdk.imaging.dicom.writing.coding import cielab_of, type_of
from cmc_sdk.imaging.dicom.writing.measurement_report import write_measurement_report
from cmc_sdk.imaging.dicom.writing.segmentation import write_segmentation
from cmc_sdk.imaging.dicom.writing.structure_set import write_structure_set
from cmc_sdk.imaging.volume import Volume
from tests.imaging.dicom.labelled import ALGORITHM, CLASSES, SPEC, labelled, lopsided
from tests.imaging.dicom.series import write_series

RECORD = {"backend": "none", "volumes_ml": {"liver": np.float32(1.5)}}
PATIENT = {
    "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg", "PatientID": "P-17", "PatientSex": "M",
    "PatientBirthDate": "19700101",
    "PhysiciansOfRecord": ["Weiß^A", "Noël^B"],
    "StudyDescription": "Oberbauch", "AccessionNumber": "A1", "PatientAge": "050Y",
}  # fmt: skip


def volumes_of(labels):
    counts = np.bincount(labels.stored.ravel(), minlength=4)
    return {item.name: float(counts[item.index]) * labels.voxel_volume_ml for item in CLASSES.classes}


def write_all(labels, folder, **given):
    common = {"classes": CLASSES, "algorithm": ALGORITHM, "record": RECORD}
    write_segmentation(labels, path=folder / "seg.dcm", **common, **given)
    write_segmentation(labels, path=folder / "map.dcm", kind="labelmap", **common, **given)
    write_structure_set(labels, path=folder / "rt.dcm", **common)
    write_measurement_report(
        labels, path=folder / "sr.dcm", volumes_ml=volumes_of(labels), segmentation=folder / "seg.dcm", **common
    )
    return {name: pydicom.dcmread(folder / f"{name}.dcm") for name in ("seg", "map", "rt", "sr")}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Volume, dict[str, pydicom.Dataset], Path]:
    folder = tmp_path_factory.mktemp("written")
    labels = labelled(folder / "scan", replace(SPEC, extra=PATIENT))
    certainty = labels.with_array(np.where(labels.stored == 2, 51, 204).astype(np.uint8))
    return labels, write_all(labels, folder, confidence=certainty), folder


def test_patient_study_and_frame_of_reference_are_carried_over_and_uids_are_new(written):
    labels, objects, _ = written
    source = labels.header.header
    new = set()
    for name, dataset in objects.items():
        for keyword in (*PATIENT, "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID"):
            if keyword != "SpecificCharacterSet":
                assert str(dataset.get(keyword)) == str(source.get(keyword)), (name, keyword)
        if name != "sr":
            assert dataset.FrameOfReferenceUID == source.FrameOfReferenceUID
        assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
        new |= {dataset.SOPInstanceUID, dataset.SeriesInstanceUID}
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert (dataset.Manufacturer, dataset.DeviceSerialNumber) == ("cmc-sdk", ALGORITHM.serial_number)
    assert len(new) == 2 * len(objects)


def test_text_of_another_character_set_keeps_its_letters(tmp_path):
    procedure = pydicom.Dataset()
    procedure.CodeValue, procedure.CodingSchemeDesignator, procedure.CodeMeaning = "1", "99X", "頭部"
    extra = {
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "ProcedureCodeSequence": pydicom.Sequence([procedure]),
    }  # fmt: skip
    labels = labelled(tmp_path / "scan", replace(SPEC, extra=extra))
    classes = ClassTable(classes=(SegmentClass(index=1, name="a\\b\tµ", color=(1, 2, 3)), *CLASSES.classes[1:]))
    write_segmentation(labels, path=tmp_path / "seg.dcm", classes=classes, algorithm=ALGORITHM)
    seen = pydicom.dcmread(tmp_path / "seg.dcm")
    assert str(seen.PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert seen.ProcedureCodeSequence[0].CodeMeaning == "頭部"
    assert seen.SegmentSequence[0].SegmentLabel == "a/b µ"


def test_every_frame_refers_to_the_instance_at_its_place(written):
    _, objects, folder = written
    instances = {item.SOPInstanceUID: item for item in map(pydicom.dcmread, (folder / "scan").iterdir())}
    frames = [*objects["seg"].PerFrameFunctionalGroupsSequence, *objects["map"].PerFrameFunctionalGroupsSequence]
    for item in frames:
        (reference,) = item.DerivationImageSequence[0].SourceImageSequence
        instance = instances[reference.ReferencedSOPInstanceUID]
        assert reference.ReferencedSOPClassUID == instance.SOPClassUID
        assert item.PlanePositionSequence[0].ImagePositionPatient == instance.ImagePositionPatient
    for structure in objects["rt"].ROIContourSequence:
        for contour in structure.get("ContourSequence", ()):
            instance = instances[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            assert float(contour.ContourData[2]) == pytest.approx(float(instance.ImagePositionPatient[2]), abs=1e-4)
    for dataset in (objects["seg"], objects["map"]):
        referenced = dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert {item.ReferencedSOPInstanceUID for item in referenced} == set(instances)
    study = objects["rt"].ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    images = study.RTReferencedSeriesSequence[0].ContourImageSequence
    assert {item.ReferencedSOPInstanceUID for item in images} == set(instances)


def test_segments_have_codes_colours_and_their_algorithm(written):
    _, objects, _ = written
    liver, own, _ = objects["seg"].SegmentSequence
    assert [item.SegmentLabel for item in objects["map"].SegmentSequence[1:]] == list(CLASSES.names)
    coded = liver.SegmentedPropertyTypeCodeSequence[0]
    assert (coded.CodeValue, coded.CodingSchemeDesignator) == ("10200004", "SCT")
    private = own.SegmentedPropertyTypeCodeSequence[0]
    assert (private.CodingSchemeDesignator, private.CodeMeaning) == ("99CMC", "our own thing")
    assert objects["seg"].CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99CMC"
    identity = liver.SegmentationAlgorithmIdentificationSequence[0]
    assert (identity.AlgorithmName, identity.AlgorithmVersion) == ("abdomen", "1.2.0")
    shown = highdicom.color.CIELabColor.from_dicom_value(liver.RecommendedDisplayCIELabValue).to_rgb()
    assert np.abs(np.subtract(shown, (230, 75, 53))).max() <= 1
    assert liver.SegmentDescription == "mean confidence 0.800"
    assert own.SegmentDescription == "mean confidence 0.200"
    assert [list(item.ROIDisplayColor) for item in objects["rt"].ROIContourSequence][1] == [77, 187, 213]
    assert "ContourSequence" not in objects["rt"].ROIContourSequence[2]  # the absent class


def test_the_run_record_is_inside(written):
    _, objects, _ = written
    for name, dataset in objects.items():
        value = dataset.private_block(0x0099, "CMC-SDK RUN RECORD 1")[0x01].value
        text = value.decode() if isinstance(value, bytes) else value
        assert json.loads(text) == {"backend": "none", "volumes_ml": {"liver": 1.5}}, name


def test_the_report_gives_volumes_and_their_segments(written):
    labels, objects, _ = written
    report = highdicom.sr.Comprehensive3DSR.from_dataset(objects["sr"])
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == list(CLASSES.names)
    for item, group in zip(CLASSES.classes, groups, strict=True):
        (measured,) = group.get_measurements()
        assert (float(measured.value), measured.unit.value) == (pytest.approx(volumes_of(labels)[item.name]), "mL")
        reference = group.referenced_segment[0].ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == objects["seg"].SOPInstanceUID
        assert reference.ReferencedSegmentNumber == item.index


def test_a_report_without_a_segmentation_refers_to_the_images(tmp_path):
    labels = labelled(tmp_path / "scan")
    write_measurement_report(
        labels, path=tmp_path / "sr.dcm", classes=CLASSES, algorithm=ALGORITHM,
        volumes_ml=volumes_of(labels), segmentation=None,
    )  # fmt: skip
    report = highdicom.sr.Comprehensive3DSR.from_dataset(pydicom.dcmread(tmp_path / "sr.dcm"))
    assert len(report.content.get_image_measurement_groups()) == len(CLASSES.classes)


def test_volumes_that_are_not_those_of_the_labels_are_refused(tmp_path):
    labels = labelled(tmp_path / "scan")
    right = volumes_of(labels)
    given = {"classes": CLASSES, "algorithm": ALGORITHM, "segmentation": None, "path": tmp_path / "sr.dcm"}
    with pytest.raises(DataError, match="99 ml of 'liver'"):
        write_measurement_report(labels, volumes_ml=right | {"liver": 99.0}, **given)
    del right["spleen"]
    with pytest.raises(DataError, match="no volume of 'spleen'"):
        write_measurement_report(labels, volumes_ml=right, **given)
    write_segmentation(labels, path=tmp_path / "seg.dcm", classes=CLASSES, algorithm=ALGORITHM)
    other = labelled(tmp_path / "other", replace(SPEC, seed=6))
    with pytest.raises(DataError, match="is not a segmentation of this series"):
        write_measurement_report(other, volumes_ml=volumes_of(other), **given | {"segmentation": tmp_path / "seg.dcm"})


def test_a_slice_without_a_source_says_so_and_lies_where_it_belongs(tmp_path):
    write_series(tmp_path / "scan", replace(SPEC, places=(0, 1, 2, 4, 5, 6, 7, 8)))
    scan = read_dicom(tmp_path / "scan", irregular="resample")
    assert scan.header.gaps == {3}
    objects = write_all(scan.with_array(lopsided(scan.size_vox)), tmp_path)
    for name in ("seg", "map"):
        lost = [item for item in objects[name].PerFrameFunctionalGroupsSequence if not item.DerivationImageSequence]
        assert len(lost) == 1
        assert lost[0].FrameContentSequence[0].FrameComments.startswith("Interpolated")
        assert lost[0].PlanePositionSequence[0].ImagePositionPatient == [-10.0, 20.0, 39.0]
    contours = objects["rt"].ROIContourSequence[0].ContourSequence
    assert {float(item.ContourData[2]) for item in contours if "ContourImageSequence" not in item} == {39.0}


def test_frames_of_an_enhanced_instance_are_named_by_number(tmp_path):
    labels = labelled(tmp_path / "scan", replace(SPEC, multi_frame=True))
    objects = write_all(labels, tmp_path)
    source = pydicom.dcmread(tmp_path / "scan" / "enhanced.dcm")
    for item in objects["seg"].PerFrameFunctionalGroupsSequence:
        (reference,) = item.DerivationImageSequence[0].SourceImageSequence
        frame = source.PerFrameFunctionalGroupsSequence[reference.ReferencedFrameNumber - 1]
        assert frame.PlanePositionSequence[0].ImagePositionPatient == item.PlanePositionSequence[0].ImagePositionPatient
    (instance,) = objects["seg"].ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert instance.ReferencedSOPInstanceUID == source.SOPInstanceUID


@pytest.mark.parametrize("write", [write_segmentation, write_structure_set])
def test_bad_input_is_refused_by_name(write, tmp_path):
    labels = labelled(tmp_path / "scan")
    given = {"classes": CLASSES, "algorithm": ALGORITHM}
    path = tmp_path / "out.dcm"
    with pytest.raises(InputError, match="was not read from DICOM"):
        write(Volume(labels.stored, labels.affine_mm), path=path, **given)
    nowhere = Volume(labels.stored, labels.affine_mm, header=replace(labels.header, frame_of_reference_uid=None))
    with pytest.raises(InputError, match="names no frame of reference"):
        write(nowhere, path=path, **given)
    with pytest.raises(DataError, match=r"label values 0 … 9"):
        write(labels.with_array(labels.stored * 9 // 2), path=path, **given)
    with pytest.raises(DataError, match="8 slices, and its source knows 9"):
        write(labels.with_array(labels.stored[:, :, 1:]), path=path, **given)
    with pytest.raises(InputError, match="its folder does not exist"):
        write(labels, path=tmp_path / "none" / "out.dcm", **given)
    skewed = labels.affine_mm.copy()
    skewed[:3, 0] += 0.1 * skewed[:3, 1]
    with pytest.raises(GeometryError, match="right angles"):
        write(Volume(labels.stored, skewed, header=labels.header), path=path, **given)
    assert not path.exists()


def test_an_empty_label_map_is_written(tmp_path):
    labels = labelled(tmp_path / "scan")
    objects = write_all(labels.with_array(np.zeros_like(labels.stored)), tmp_path)
    assert not objects["seg"].pixel_array.any()
    assert not objects["map"].pixel_array.any()


def test_uncoded_classes_have_private_codes_that_fit_and_differ():
    names = ("ok-name", "a name of far more than sixteen letters", "a name of far more than sixteen letters!", "ü")
    codes = [type_of(SegmentClass(index=1, name=name, color=(0, 0, 0))) for name in names]
    assert codes[0].value == "ok-name"
    assert all(code.scheme == "99CMC" and 0 < len(code.value) <= 16 for code in codes)
    assert len({code.value for code in codes}) == len(names)
    coded = SegmentClass(index=1, name="x", color=(0, 0, 0), snomed=Code(value="52988006", meaning="Lesion"))
    assert type_of(coded).scheme == "SCT"


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (230, 75, 53), (1, 2, 3), (0, 0, 255), (255, 255, 0)])
def test_colours_agree_with_highdicom(color):
    expected = highdicom.color.CIELabColor.from_rgb(*color).value
    assert np.abs(np.subtract(cielab_of(color), expected)).max() <= 32  # of 65535


def test_a_class_table_without_classes_is_refused(tmp_path):
    labels = labelled(tmp_path / "scan")
    empty = labels.with_array(np.zeros_like(labels.stored))
    with pytest.raises(InputError, match="no segments"):
        write_segmentation(empty, path=tmp_path / "s.dcm", classes=ClassTable(classes=()), algorithm=ALGORITHM)
