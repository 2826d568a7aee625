"""`cmc data`: what it prints, how it exits, and that one line says what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

PHANTOM = (
    "data",
    "phantom",
    "--labelled",
    "1",
    "--unlabelled",
    "1",
    "--validation",
    "1",
    "--test",
    "0",
    "--spacing",
    "16",
)


@pytest.fixture
def study(tmp_path, cmc):
    outcome = cmc(*PHANTOM, str(tmp_path / "study"))
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert f"written: {tmp_path / 'study' / 'datalist.yaml'}" in outcome.out
    return tmp_path / "study" / "datalist.yaml"


def test_a_phantom_is_made_and_checked(study, cmc):
    outcome = cmc("data", "check", str(study))
    assert (outcome.code, outcome.err) == (0, "")
    assert "cases 1 labelled, 1 unlabelled, 1 validation, 0 test" in outcome.out


def test_errors_exit_2_and_name_everything(study, cmc):
    document = yaml.safe_load(study.read_text())
    document["cases"][0]["images"]["ct"] = "nowhere.nii.gz"
    document["cases"][1]["patient"] = document["cases"][0]["patient"]
    study.write_text(yaml.safe_dump(document))
    outcome = cmc("data", "check", str(study))
    assert outcome.code == 2
    assert "missing-file" in outcome.out
    assert "patient-in-two-splits" in outcome.out
    assert "2 errors" in outcome.out
    machine = cmc("data", "check", str(study), "--json")
    assert machine.code == 2
    report = json.loads(machine.out)
    assert report["errors"] == 2
    assert {fault["code"] for fault in report["faults"]} >= {"missing-file", "patient-in-two-splits"}
    assert report["cases"]["labelled"] == 1


def test_warnings_exit_0(study, cmc):
    document = yaml.safe_load(study.read_text())
    for item in document["classes"]:
        item.pop("mirror", None)
    study.write_text(yaml.safe_dump(document))
    outcome = cmc("data", "check", str(study))
    assert outcome.code == 0
    assert "lateral-without-mirror" in outcome.out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("data", "check", "nowhere.yaml"), "data list nowhere.yaml does not exist; check the path"),
        (("data", "import", "nnunet", "nowhere", "-o", "x.yaml"), "does not exist"),
        (("data", "import", "released", "nowhere.json", "-o", "x.yaml"), "nowhere.json does not exist"),
    ],
)
def test_bad_input_is_one_line(cmc, words, part):
    outcome = cmc(*words)
    assert outcome.code == 2
    assert part in outcome.error


def test_a_phantom_is_never_made_over_something(study, cmc):
    outcome = cmc(*PHANTOM, str(study.parent))
    assert outcome.code == 2
    assert "exists already" in outcome.error


def test_import_writes_a_list_that_can_be_checked(tmp_path, cmc):
    (tmp_path / "dataset.json").write_text(
        json.dumps(
            {
                "name": "H",
                "modality": {"0": "MRI"},
                "labels": {"0": "background", "1": "a"},
                "training": [{"image": f"i{number}.nii.gz", "label": f"l{number}.nii.gz"} for number in range(4)],
            }
        )
    )
    output = tmp_path / "list.yaml"
    words = (
        "data",
        "import",
        "decathlon",
        str(tmp_path / "dataset.json"),
        "-o",
        str(output),
        "--labelled",
        "2",
        "--json",
    )
    outcome = cmc(*words)
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["cases"] == {"labelled": 2, "unlabelled": 2, "validation": 0, "test": 0}
    assert yaml.safe_load(output.read_text())["cases"][0]["images"] == {"mri": "i0.nii.gz"}
    checked = cmc("data", "check", str(output))
    assert checked.code == 2
    assert checked.out.count("missing-file") == 4 + 2
    wrong = cmc(*words[:5], str(tmp_path / "list.txt"))
    assert wrong.code == 2
    assert "ends in .yaml, .yml or .json" in wrong.error


def test_checking_needs_neither_torch_nor_monai(study):
    program = (
        "import sys\n"
        "for name in ('torch', 'monai'): sys.modules[name] = None\n"
        "from cmc_sdk.cli.main import main\n"
        "main(['data', 'check', sys.argv[1]])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(study)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
