"""`cmc infer --study`: a study goes in, what was chosen is explained, and DICOM comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import keyword_for_tag

from cmc_sdk import read_volume
from tests.cli.command import Outcome
from tests.imaging.dicom.deidentify.planted import BYTES, MARKS, marks_in, planted_value, standard_tags
from tests.imaging.dicom.series import SeriesSpec, write_series

Cmc = Callable[..., Outcome]

PATIENT = "QZPATIENT^NAME"
ONE_FRAME = {
    "FrameOfReferenceUID": "1.2.3.4",
    "StudyInstanceUID": "1.2.3.5",
    "PatientName": PATIENT,
    "PatientID": "QZ77",
}


def write_scan(
    folder: Path, modality: str, *, number: int, size: tuple[int, int, int] = (24, 20, 14), **extra: object
) -> str:
    """One series of noise in a body of noise; returns its UID."""
    attributes = {**ONE_FRAME, "SeriesNumber": number, "SeriesDescription": f"{modality} {number}", **extra}
    spec = SeriesSpec(
        size_vox=size,
        spacing_mm=(2, 2, 3),
        modality=modality,
        seed=number,
        extra=attributes,
        places=extra.pop("places", None),
    )
    voxels = np.full(size, -1000, np.int16)
    inside = tuple(slice(3, -3) for _ in range(3))
    voxels[inside] = np.random.default_rng(number).integers(-100, 200, voxels[inside].shape)
    written = write_series(folder / f"series{number}", spec, voxels=voxels)
    return str(pydicom.dcmread(written.paths[0]).SeriesInstanceUID)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "QZPATIENT study"
    write_scan(folder, "CT", number=1)
    write_scan(folder, "MR", number=2, size=(20, 22, 12))
    return folder


def test_a_study_becomes_nifti_seg_rtstruct_and_sr_on_its_own_frames(
    cmc: Cmc, bundle: Path, study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    formats = "nifti,dicom-seg,dicom-labelmap,rtstruct,sr"
    done = cmc("infer", bundle, "--development", "--study", study, "-o", out, "--format", formats, "--report")
    assert done.code == 0, done.err
    kinds = ("labels_{}.nii.gz", "confidence_{}.nii.gz", "labels_{}.seg.dcm", "labels_{}.labelmap.dcm")
    kinds += ("labels_{}.rtstruct.dcm", "volumes_{}.sr.dcm")
    expected = {kind.format(name) for kind in kinds for name in ("ct", "mr")} | {"record.json", "report.html"}
    assert {path.name for path in out.iterdir()} == expected
    for name, number in (("ct", 1), ("mr", 2)):
        labels = read_volume(out / f"labels_{name}.nii.gz")
        assert labels.same_grid(read_volume(study / f"series{number}"))
        segmentation = pydicom.dcmread(out / f"labels_{name}.seg.dcm")
        assert segmentation.PatientName == PATIENT  # what goes back to the archive belongs to the patient
        assert segmentation.StudyInstanceUID == ONE_FRAME["StudyInstanceUID"]
        assert segmentation.FrameOfReferenceUID == ONE_FRAME["FrameOfReferenceUID"]
        assert segmentation.pixel_array.sum() == (labels.stored > 0).sum() > 0
    assert "taken" in done.out
    record = json.loads((out / "record.json").read_text())
    assert len(record["plan"]) == 1, "one frame of reference: labelled together although their grids differ"


def test_neither_record_nor_report_nor_terminal_hold_patient_data(
    cmc: Cmc, bundle: Path, study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["infer", bundle, "--development", "--study", study, "--report"]
    printed = cmc(*words, "-o", out)
    spoken = cmc(*words, "-o", tmp_path / "again", "--json")
    assert printed.code == spoken.code == 0
    uids = {str(pydicom.dcmread(path).SeriesInstanceUID) for path in study.rglob("*.dcm")}
    for mark in ("QZPATIENT", "QZ77", *ONE_FRAME.values(), *uids, "20240102"):
        for name in ("record.json", "report.html", "labels_ct.nii.gz", "labels_mr.nii.gz"):
            content = (out / name).read_bytes()
            assert mark.encode() not in content, f"{mark} in {name}"
        assert mark not in printed.out + printed.err
        assert mark not in json.dumps(json.loads(spoken.out)["record"])
    assert "QZPATIENT" not in spoken.out


def test_two_frames_of_reference_are_labelled_apart_and_said_so(cmc: Cmc, bundle: Path, tmp_path: Path) -> None:
    write_scan(tmp_path / "study", "CT", number=1)
    write_scan(tmp_path / "study", "MR", number=2, FrameOfReferenceUID="1.9.9")
    done = cmc("infer", bundle, "--development", "--study", tmp_path / "study", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "ct and mr are not paired: they are in different frames of reference" in done.out
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert len(record["plan"]) == 2
    assert any("in different frames of reference" in text for text in record["warnings"])


def test_an_ambiguous_study_stops_and_a_named_series_decides(
    cmc: Cmc, bundle: Path, study: Path, tmp_path: Path
) -> None:
    uid = write_scan(study, "CT", number=5)
    words = ["infer", bundle, "--development", "--study", study, "-o", tmp_path / "out"]
    stopped = cmc(*words)
    assert stopped.code == 2
    assert "2 series fit ct" in stopped.error
    assert uid in stopped.error
    assert "--series ct=UID" in stopped.error
    assert not (tmp_path / "out").exists()
    done = cmc(*words, "--series", f"ct={uid}", "--json")
    assert done.code == 0, done.err
    selection = json.loads(done.out)["selection"]
    assert selection["chosen"]["ct"]["series"] == uid
    assert {item["reason"] for item in selection["rejected"]} >= {"another was named by --series", "it is MR, not CT"}


def test_a_missing_slice_is_refused_or_resampled_with_a_confidence_of_zero(
    cmc: Cmc, bundle: Path, tmp_path: Path
) -> None:
    places = (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14)
    write_scan(tmp_path / "study", "CT", number=1, places=places)
    words = ["infer", bundle, "--development", "--study", tmp_path / "study", "-o", tmp_path / "out"]
    stopped = cmc(*words)
    assert stopped.code == 2
    assert "missing slices" in stopped.error
    assert "--irregular resample" in stopped.error
    done = cmc(*words, "--irregular", "resample", "--format", "nifti,dicom-seg")
    assert done.code == 0, done.err
    confidence = read_volume(tmp_path / "out" / "confidence_ct.nii.gz").stored
    assert confidence.shape[2] == 15
    assert [index for index in range(15) if confidence[:, :, index].max() == 0] == [7]
    assert any("resampled" in text for text in json.loads((tmp_path / "out" / "record.json").read_text())["warnings"])


def test_a_dicom_folder_is_an_image_too(cmc: Cmc, bundle: Path, study: Path, tmp_path: Path) -> None:
    words = ["--image", f"ct={study / 'series1'}", "--format", "dicom-seg"]
    done = cmc("infer", bundle, "--development", *words, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"labels_ct.seg.dcm", "record.json"}
    several = cmc("infer", bundle, "--development", "--image", f"ct={study}", "--series", "ct=1", "-o", tmp_path / "b")
    assert several.code == 0, several.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--image", "ct={ct}", "--format", "dicom-seg"], "the scan ct is not DICOM"),
        (["--image", "ct={ct}", "--format", "nifti,pdf"], "format 'pdf' is unknown"),
        (["--image", "ct={ct}", "--format", ","], "no format was given"),
        (["--image", "ct={ct}", "--study", "{study}"], "--image and --study were both given"),
        ([], "no scan was given"),
        (["--study", "{study}", "--series", "ct"], "--series 'ct' does not say which modality it is"),
        (["--study", "{study}", "--series", "pet=1.2"], "--series pet: the bundle has no modality 'pet', only ct, mr"),
        (["--study", "{study}", "--series", "ct=9.9"], "the study holds no such series"),
        (["--image", "ct={ct}", "--series", "mr=1"], "--series mr belongs to no --image mr"),
        (["--study", "{nowhere}"], "nowhere does not exist"),
    ],
)
def test_wrong_use_is_refused_before_any_work(
    words: list[str], message: str, cmc: Cmc, bundle: Path, study: Path, scans: dict[str, Path], tmp_path: Path
) -> None:
    places = {"ct": scans["ct"], "study": study, "nowhere": tmp_path / "nowhere"}
    given = [word.format(**places) for word in words]
    done = cmc("infer", bundle, "--development", *given, "-o", tmp_path / "out")
    assert done.code == 2
    assert message in done.error
    assert not (tmp_path / "out").exists()


def test_a_series_without_a_frame_of_reference_becomes_nifti_only(cmc: Cmc, bundle: Path, tmp_path: Path) -> None:
    write_scan(tmp_path / "study", "CT", number=1, FrameOfReferenceUID="")
    words = ["infer", bundle, "--development", "--study", tmp_path / "study", "-o", tmp_path / "out"]
    stopped = cmc(*words, "--format", "sr")
    assert stopped.code == 2
    assert "names no frame of reference" in stopped.error
    assert cmc(*words).code == 0


@pytest.mark.slow
def test_nothing_planted_in_any_header_reaches_record_report_labels_or_terminal(
    cmc: Cmc, bundle: Path, tmp_path: Path
) -> None:
    # What a scan is called by its scanner is shown to the person at the terminal, to choose by; nothing else is.
    shown = {"SeriesDescription", "ProtocolName", "SpecificCharacterSet", "SOPInstanceUID"}
    planted = {
        keyword_for_tag(tag): planted_value(vr, number)
        for number, (tag, vr) in enumerate(standard_tags())
        if tag >> 16 < 0x0030 and vr not in BYTES and planted_value(vr, number) is not None
    }
    # The reader asks these, and refuses what it does not know.
    asked = {"PixelPresentation", "PresentationLUTShape", "ComplexImageComponent", "ImageType", "ModalityLUTType"}
    extra = {key: value for key, value in planted.items() if key not in shown | asked | {"PhotometricInterpretation"}}
    write_scan(tmp_path / "study", "CT", number=1, size=(24, 20, 4), **{**extra, "SeriesDescription": "scan"})
    out = tmp_path / "out"
    done = cmc("infer", bundle, "--development", "--study", tmp_path / "study", "-o", out, "--report")
    assert done.code == 0, done.err
    assert len(extra) > 500
    assert done.err == ""
    assert marks_in(tmp_path / "study")
    assert marks_in(out) == []
    assert [mark for mark in MARKS if mark.decode() in done.out] == []
