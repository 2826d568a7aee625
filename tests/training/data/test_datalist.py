from __future__ import annotations

import json

import pytest
import yaml

from cmc_sdk.errors import DataError
from cmc_sdk.training.data.datalist import load_datalist, write_datalist
from cmc_sdk.training.data.laterality import mirror_name, unmarked_lateral, with_mirrors
from tests.training.data.scenes import write_list

GOOD = {
    "name": "study",
    "modalities": [{"name": "ct", "dicom_modality": "CT", "intensity": {"clip": [-175, 250], "unit": "HU"}}],
    "classes": ["liver", {"name": "spleen", "color": [1, 2, 3]}],
    "pairing": "registered",
    "cases": [
        {
            "case": 1,
            "patient": 7,
            "split": "labelled",
            "images": {"ct": "scans/a.nii.gz"},
            "labels": {"ct": "l.nii.gz"},
        },
        {"case": "two", "patient": "x", "centre": "north", "split": "test", "images": {"ct": "/data/b.nii.gz"}},
    ],
}


def test_paths_are_relative_to_the_file_and_short_classes_are_completed(tmp_path):
    datalist = load_datalist(write_list(tmp_path, GOOD))
    first, second = datalist.cases
    assert first.images["ct"] == tmp_path.resolve() / "scans" / "a.nii.gz"
    assert str(second.images["ct"]) == "/data/b.nii.gz"
    assert (first.case, first.patient, first.centre) == ("1", "7", "unknown")
    assert datalist.classes.names == ("liver", "spleen")
    assert datalist.classes.classes[1].index == 2
    assert datalist.classes.classes[1].color == (1, 2, 3)
    assert datalist.split("test") == (second,)


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_what_is_written_reads_back_equal(tmp_path, suffix):
    datalist = load_datalist(write_list(tmp_path, GOOD))
    path = write_datalist(datalist, tmp_path / f"copy{suffix}")
    assert load_datalist(path) == datalist
    text = path.read_text()
    document = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
    assert document["cases"][0]["images"] == {"ct": "scans/a.nii.gz"}  # movable with its folder
    assert document["cases"][1]["images"] == {"ct": "/data/b.nii.gz"}


def test_all_faults_are_told_at_once_and_unknown_keys_with_the_nearest_right_one(tmp_path):
    bad = {
        "name": "study",
        "pairng": "registered",
        "modalities": [{"name": "ct", "intensity": {"clipp": [0, 1]}}],
        "classes": ["liver", {"name": "spleen", "colour": [1, 2, 3]}],
        "cases": [{"case": "a", "patient": "p", "split": "train", "images": {"ct": "a.nii.gz"}, "label": {}}],
    }
    with pytest.raises(DataError) as caught:
        load_datalist(write_list(tmp_path, bad))
    text = str(caught.value)
    for part in (
        "6 faults",
        "pairng: unknown key; did you mean 'pairing'?",
        "pairing: is missing",
        "modalities[0].intensity.clipp: unknown key; did you mean 'clip'?",
        "classes[1].colour: unknown key; did you mean 'color'?",
        "cases[0].split: input should be 'labelled', 'unlabelled', 'validation' or 'test' (given 'train')",
        "cases[0].label: unknown key; did you mean 'labels'?",
    ):
        assert part in text


def test_names_that_do_not_agree_are_told(tmp_path):
    cases = [*GOOD["cases"], {**GOOD["cases"][1], "images": {"mr": "c.nii.gz"}}]
    bad = {**GOOD, "cases": cases, "reference_modality": "pet"}
    with pytest.raises(DataError) as caught:
        load_datalist(write_list(tmp_path, bad))
    text = str(caught.value)
    assert "reference_modality 'pet' is none of ['ct']" in text
    assert "case 'two' stands 2 times" in text
    assert "case 'two': image of modality 'mr', which is none of ['ct']" in text


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("missing.yaml", None, "does not exist"),
        ("list.txt", "a: 1", "does not end in .yaml, .yml or .json"),
        ("list.yaml", "a: [1, 2", "is not valid YAML"),
        ("list.json", '{"a": ', "is not valid JSON"),
        ("list.yaml", "- 1", "holds no mapping"),
        ("list.yaml", "\x00\x01", "is not valid YAML"),
        ("list.yaml", "name: !!python/object/apply:os.system ['true']", "is not valid YAML"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path, name, text, part):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=part) as caught:
        load_datalist(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "mirror"),
    [
        ("left kidney", "right kidney"),
        ("kidney_right", "kidney_left"),
        ("Right Adrenal", "Left Adrenal"),
        ("LUNG-L", "LUNG-R"),
        ("R hippocampus", "L hippocampus"),
        ("liver", None),
        ("cleft", None),
        ("brightness", None),
    ],
)
def test_mirror_names(name, mirror):
    assert mirror_name(name) == mirror


def test_mirrors_are_marked_only_in_pairs():
    table = with_mirrors(["left kidney", "liver", "right kidney", "left lung"])
    assert table.mirror_permutation() == (0, 3, 2, 1, 4)
    assert unmarked_lateral(table) == ["left lung"]
