"""`cmc data scan`, `from-dicom` and `anonymise`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import yaml

from cmc_sdk import read_volume
from cmc_sdk.training.data.datalist import load_datalist, write_datalist
from tests.cli.command import Outcome
from tests.imaging.dicom.deidentify.planted import marks_in, save_planted
from tests.imaging.dicom.series import SeriesSpec, classic, make_voxels, write_series

Cmc = Callable[..., Outcome]

RULES = {
    "name": "prostate",
    "modalities": [
        {"name": "t2", "dicom_modality": "MR", "series": {"words": ["t2*"], "orientation": ["axial"]}},
        {"name": "adc", "dicom_modality": "MR", "series": {"words": ["adc"], "min_slices": 3}},
    ],
    "classes": ["gland"],
    "pairing": "registered",
}


def write_study(folder: Path, *, study: int, patient: str, series: tuple[str, ...] = ("t2_tse", "dwi_ADC")) -> None:
    for number, description in enumerate(series):
        extra = {
            "PatientID": f"ZQXW{patient}",
            "PatientName": f"ZQXW^{patient}",
            "StudyInstanceUID": f"1.2.826.0.1.99887766.{study}",
            "FrameOfReferenceUID": f"1.2.826.0.1.99887766.{study}.1",
            "SeriesDescription": description,
            "SeriesNumber": number + 1,
            "StudyDate": "19370214",
        }
        spec = SeriesSpec(size_vox=(8, 7, 4), modality="MR", seed=10 * study + number, extra=extra)
        write_series(folder / f"ZQXW{patient}" / str(study) / str(number), spec)


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    write_study(folder, study=1, patient="B")
    write_study(folder, study=2, patient="A")
    write_study(folder, study=3, patient="B", series=("t2_tse", "t1", "adc map"))
    return folder


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(RULES))
    return path


def test_scan_shows_every_volume_and_names_nobody(cmc: Cmc, studies: Path) -> None:
    done = cmc("data", "scan", studies)
    assert done.code == 0, done.err
    lines = done.out.strip().splitlines()
    assert lines[0].split()[:2] == ["series", "size"]
    assert len(lines) == 1 + 7 + 1
    assert lines[-1] == "28 files, 7 volumes, 0 refused"
    assert "t2_tse" in done.out
    assert "8×7×4" in done.out
    assert "ZQXW" not in done.out
    assert "99887766" not in done.out
    uids = cmc("data", "scan", studies, "--uids")
    series = {str(pydicom.dcmread(path).SeriesInstanceUID) for path in studies.rglob("*.dcm")}
    assert all(uid in uids.out for uid in series)


def test_scan_for_machines(cmc: Cmc, studies: Path) -> None:
    document = json.loads(cmc("data", "scan", studies, "--json").out)
    assert document["files"] == 28
    assert len(document["volumes"]) == 7
    assert {item["patient"] for item in document["volumes"]} == {"A", "B"}
    assert {item["study"] for item in document["volumes"]} == {"A", "B", "C"}
    first = document["volumes"][0]
    assert first["size_vox"] == [8, 7, 4]
    assert first["orientation"] == "axial"
    assert np.array(first["affine_mm"]).shape == (4, 4)


def test_from_dicom_writes_a_list_that_training_reads_and_that_names_nobody(
    cmc: Cmc, studies: Path, rules: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = cmc("data", "from-dicom", studies, out, "--rules", rules)
    assert done.code == 0, done.err
    assert "3 cases of 2 patients, unlabelled" in done.out
    datalist = load_datalist(out / "datalist.yaml")
    assert [(case.case, case.patient) for case in datalist.cases] == [
        ("case0001", "patient0001"),
        ("case0002", "patient0002"),
        ("case0003", "patient0001"),
    ]
    assert datalist.modalities[0].series is not None
    assert datalist.modalities[0].series.words == ("t2*",)
    assert marks_in(out) == []
    for case in datalist.cases:
        for name, path in case.images.items():
            volume = read_volume(path)
            wanted = {"t2": 0, "adc": 2 if case.case == "case0003" else 1}[name]
            number = int(case.case[-1])
            original = read_volume(studies / f"ZQXW{'BAB'[number - 1]}" / str(number) / str(wanted))
            assert volume.same_grid(original)
            assert np.array_equal(volume.stored, original.stored)
    check = cmc("data", "check", out / "datalist.yaml", "--json")
    assert "unreadable-image" not in check.out


def test_equal_folders_give_equal_lists_and_files(cmc: Cmc, studies: Path, rules: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert cmc("data", "from-dicom", studies, tmp_path / name, "--rules", rules).code == 0
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / n).rglob("*.*")} for n in ("one", "two"))
    assert one == two
    assert len(one) == 7


def test_the_rules_reach_the_models_specification(cmc: Cmc, studies: Path, tmp_path: Path) -> None:
    from cmc_sdk.bundle.manifest import Grid

    words = ["--modality", "t2=MR:t2*,!localizer", "--modality", "adc=MR:adc", "--classes", "gland, lesion"]
    done = cmc("data", "from-dicom", studies, tmp_path / "out", *words, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["cases"] == 3
    datalist = load_datalist(tmp_path / "out" / "datalist.yaml")
    spec = datalist.model_spec(grid=Grid(spacing_mm=(1, 1, 1), window_vox=(16, 16, 16)))
    assert spec.modality("t2").series is not None
    assert spec.modality("t2").series.without == ("localizer",)
    assert datalist.classes.names == ("gland", "lesion")
    again = write_datalist(datalist, tmp_path / "out" / "again.yaml")
    assert load_datalist(again) == datalist


def test_a_study_that_leaves_a_choice_stops_and_one_that_does_not_fit_is_left_out(
    cmc: Cmc, studies: Path, rules: Path, tmp_path: Path
) -> None:
    write_study(studies, study=4, patient="C", series=("localizer",))
    done = cmc("data", "from-dicom", studies, tmp_path / "out", "--rules", rules)
    assert done.code == 0, done.err
    (line,) = (line for line in done.out.splitlines() if line.startswith("left out"))
    assert "no series fits t2 or adc: 1 localizer for t2: no word of its header is 't2*'" in line
    write_study(studies, study=5, patient="C", series=("t2 a", "t2 b"))
    stopped = cmc("data", "from-dicom", studies, tmp_path / "again", "--rules", rules)
    assert stopped.code == 2
    assert "the rules leave a choice in 1 of 5 studies" in stopped.error
    assert "2 series fit t2" in stopped.error
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing says what to look for"),
        (["--modality", "t2=MR"], "nothing says what to look for"),
        (["--modality", "t2", "--classes", "a"], "--modality 't2' does not say what it is"),
        (["--modality", "t2=XX", "--classes", "a"], "modalities[0].dicom_modality"),
        (["--rules", "{rules}", "--classes", "a"], "both given"),
        (["--rules", "{nowhere}"], "does not exist"),
    ],
)
def test_wrong_use_of_from_dicom(
    words: list[str], message: str, cmc: Cmc, studies: Path, rules: Path, tmp_path: Path
) -> None:
    given = [word.format(rules=rules, nowhere=tmp_path / "none.yaml") for word in words]
    done = cmc("data", "from-dicom", studies, tmp_path / "out", *given)
    assert done.code == 2
    assert message in done.error
    assert not (tmp_path / "out").exists()


def test_faults_of_rules_are_named_with_the_nearest_key(cmc: Cmc, studies: Path, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({**RULES, "modalities": [{"name": "t2", "series": {"word": ["t2"]}}]}))
    done = cmc("data", "from-dicom", studies, tmp_path / "out", "--rules", path)
    assert done.code == 2
    assert "modalities[0].series.word: unknown key; did you mean 'words'?" in done.error


def test_anonymise(cmc: Cmc, tmp_path: Path) -> None:
    spec = SeriesSpec(size_vox=(8, 6, 3))
    for index in range(3):
        dataset = classic(spec, make_voxels(spec)[:, :, index], index=index)
        dataset.PatientName, dataset.InstitutionName, dataset.StudyDate = "ZQXW^NAME", "ZQXW clinic", "19370214"
        save_planted(dataset, tmp_path / "ZQXW" / f"{index}.dcm")
    captured = classic(spec, make_voxels(spec)[:, :, 0], index=2)
    captured.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    save_planted(captured, tmp_path / "ZQXW" / "capture.dcm")
    done = cmc("data", "anonymise", tmp_path / "ZQXW", tmp_path / "out")
    assert done.code == 0, done.err
    assert "left out 1 files: secondary capture: its pixels may hold words" in done.out
    assert "3 files of 1 patients written" in done.out
    assert "ZQXW^NAME" not in done.out + done.err
    assert done.err == ""
    assert marks_in(tmp_path / "out") == []
    assert read_volume(tmp_path / "out").size_vox == (8, 6, 3)
    spoken = json.loads(cmc("data", "anonymise", tmp_path / "ZQXW", tmp_path / "again", "--json").out)
    assert spoken["attributes"]["(0008,0080) InstitutionName: replaced"] == 3
    stopped = cmc("data", "anonymise", tmp_path / "ZQXW", tmp_path / "out")
    assert stopped.code == 2
    assert "exists already" in stopped.error
