from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cmc_sdk.errors import DataError, InputError
from cmc_sdk.imaging.nifti import read_nifti, write_volume
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.training.data.datalist import load_datalist, write_datalist
from cmc_sdk.training.data.importers import Shares, import_decathlon, import_nnunet, import_released
from cmc_sdk.training.data.importers.common import modality_spec, shared_name

AMOS_LABELS = {"0": "background", "1": "spleen", "2": "right kidney", "3": "left kidney"}


def pair(number: str, part: str) -> dict[str, str]:
    return {
        f"{kind}_{modality}": f"./{part}/{folder}/amos_{number}_{modality}{ending}.nii.gz"
        for kind, folder, ending in (("img", "images", ""), ("mask", "masks", "_gt"))
        for modality in ("CT", "MRI")
    }


@pytest.fixture
def released(tmp_path: Path) -> Path:
    document = {
        "labels": AMOS_LABELS,
        "numTraining": 40,
        "training": [pair("0001", "train_data")],
        "unlabeled_training": [pair("0002", "train_data")],
        "validation": [pair("00049", "val_data")],
        "testing": [pair("00056", "test_data"), pair("00057", "test_data")],
    }
    path = tmp_path / "cmc_data_list.json"
    path.write_text(json.dumps(document))
    return path


def test_released_lists_are_unpaired_and_lose_the_masks_of_unlabelled_items(released):
    datalist = import_released(released)
    assert datalist.pairing == "unpaired"
    assert datalist.modality_names == ("ct", "mri")
    assert datalist.modalities[0].intensity.unit == "HU"
    assert datalist.modalities[1].dicom_modality == "MR"
    assert datalist.classes.names == ("spleen", "right kidney", "left kidney")
    assert datalist.classes.mirror_permutation() == (0, 1, 3, 2)
    assert [(case.case, case.split) for case in datalist.cases[:4]] == [
        ("amos_0001_CT", "labelled"), ("amos_0001_MRI", "labelled"),
        ("amos_0002_CT", "unlabelled"), ("amos_0002_MRI", "unlabelled"),
    ]  # fmt: skip
    assert all(not case.labels for case in datalist.split("unlabelled"))
    first = datalist.cases[0]
    assert first.images == {"ct": released.parent / "train_data/images/amos_0001_CT.nii.gz"}
    assert first.labels == {"ct": released.parent / "train_data/masks/amos_0001_CT_gt.nii.gz"}
    assert len(datalist.split("test")) == 4


def test_released_lists_of_registered_pairs(released):
    datalist = import_released(released, pairing="registered")
    first = datalist.cases[0]
    assert (first.case, first.patient) == ("amos_0001", "amos_0001")
    assert set(first.images) == set(first.labels) == {"ct", "mri"}


def test_an_import_survives_writing_and_reading(released, tmp_path):
    datalist = import_released(released)
    (tmp_path / "lists").mkdir()
    assert load_datalist(write_datalist(datalist, tmp_path / "lists" / "amos.yaml")) == datalist


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"training": [{"image": "a.nii.gz"}], "unlabeled_training": [], "validation": [], "testing": []}, "no item"),
        ({"training": "all"}, '"training" is not a list of mappings of paths'),
        ({"labels": {"0": "background", "2": "liver"}}, "without a gap"),
        ({"labels": None}, '"labels" is not a mapping'),
        ({"testing": [{"mask_CT": "a.nii.gz"}]}, "an item of test has no img_ key"),
    ],
)
def test_what_is_no_released_list_is_refused(released, change, part):
    released.write_text(json.dumps({**json.loads(released.read_text()), **change}))
    with pytest.raises(DataError, match=part):
        import_released(released)


def decathlon_document(**changes):
    return {
        "name": "Hippocampus",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "training": [
            {"image": f"./imagesTr/h_{number:03d}.nii.gz", "label": f"./labelsTr/h_{number:03d}.nii.gz"}
            for number in range(10)
        ],
        "test": ["./imagesTs/h_100.nii.gz", {"image": "./imagesTs/h_101.nii.gz"}],
        **changes,
    }


def write_json(folder: Path, document) -> Path:
    path = folder / "dataset.json"
    path.write_text(json.dumps(document))
    return path


def test_decathlon(tmp_path):
    datalist = import_decathlon(
        write_json(tmp_path, decathlon_document()), shares=Shares(labelled=3, validation=1, test=2)
    )
    counts = {split: len(datalist.split(split)) for split in ("labelled", "unlabelled", "validation", "test")}
    assert counts == {"labelled": 3, "unlabelled": 4 + 2, "validation": 1, "test": 2}
    assert all(not case.labels for case in datalist.split("unlabelled"))
    assert all(case.labels["mri"].parent.name == "labelsTr" for case in datalist.split("test"))
    again = import_decathlon(tmp_path / "dataset.json", shares=Shares(labelled=3, validation=1, test=2))
    assert again == datalist
    other = import_decathlon(tmp_path / "dataset.json", shares=Shares(labelled=3, validation=1, test=2, seed=1))
    assert other != datalist
    everything = import_decathlon(tmp_path / "dataset.json")
    assert len(everything.split("labelled")) == 10


def test_decathlon_with_one_file_a_modality(tmp_path):
    training = [{"image": ["i/p1_flair.nii.gz", "i/p1_t1c.nii.gz"], "label": "l/p1.nii.gz"}]
    document = decathlon_document(modality={"0": "FLAIR", "1": "T1c"}, training=training, test=[])
    case = import_decathlon(write_json(tmp_path, document)).cases[0]
    assert case.case == "p1"
    assert {name: path.name for name, path in case.images.items()} == {
        "flair": "p1_flair.nii.gz", "t1c": "p1_t1c.nii.gz",
    }  # fmt: skip
    assert case.labels["flair"] == case.labels["t1c"]


def test_decathlon_with_channels_in_one_file(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    voxels = np.random.default_rng(0).normal(size=(4, 5, 6, 2)).astype(np.float32)
    affine = np.diag([-1.0, -2.0, 3.0, 1.0])
    (tmp_path / "imagesTr").mkdir()
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "imagesTr" / "p1.nii.gz")
    training = [{"image": "imagesTr/p1.nii.gz", "label": "labelsTr/p1.nii.gz"}]
    path = write_json(tmp_path, decathlon_document(modality={"0": "FLAIR", "1": "t1gd"}, training=training, test=[]))
    with pytest.raises(DataError, match="2 modalities in one 4-D file; give a new folder"):
        import_decathlon(path)
    datalist = import_decathlon(path, channels_to=tmp_path / "channels")
    for channel, name in enumerate(("flair", "t1gd")):
        volume = read_nifti(datalist.cases[0].images[name])
        np.testing.assert_array_equal(volume.data, voxels[..., channel])
        np.testing.assert_allclose(volume.affine_mm, affine)
    with pytest.raises(InputError, match="exists already"):
        import_decathlon(path, channels_to=tmp_path / "channels")


def test_a_missing_channel_leaves_no_half_filled_folder(tmp_path):
    training = [{"image": "imagesTr/none.nii.gz", "label": "labelsTr/p1.nii.gz"}]
    path = write_json(tmp_path, decathlon_document(modality={"0": "a", "1": "b"}, training=training, test=[]))
    with pytest.raises(DataError, match=r"none\.nii\.gz cannot be read"):
        import_decathlon(path, channels_to=tmp_path / "channels")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["dataset.json"]


@pytest.mark.parametrize("label", [5, ["labelsTr/p1.nii.gz"], {"path": "labelsTr/p1.nii.gz"}])
def test_a_label_that_is_no_path_is_refused(tmp_path, label):
    training = [{"image": "imagesTr/p1.nii.gz", "label": label}]
    with pytest.raises(DataError, match='an item of "training" has a label that is no path'):
        import_decathlon(write_json(tmp_path, decathlon_document(training=training)))


def test_a_surface_has_no_channels_and_is_refused(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    (tmp_path / "imagesTr").mkdir()
    nibabel.save(nibabel.GiftiImage(), tmp_path / "imagesTr" / "p1.gii")
    training = [{"image": "imagesTr/p1.gii", "label": "labelsTr/p1.nii.gz"}]
    path = write_json(tmp_path, decathlon_document(modality={"0": "a", "1": "b"}, training=training, test=[]))
    with pytest.raises(DataError, match=r"p1\.gii holds no voxels"):
        import_decathlon(path, channels_to=tmp_path / "channels")


def test_a_channel_without_a_number_is_refused(tmp_path, nnunet):
    with pytest.raises(DataError, match="channel 'first' has no number"):
        import_decathlon(write_json(tmp_path, decathlon_document(modality={"first": "MRI"})))
    write_json(nnunet, {**json.loads((nnunet / "dataset.json").read_text()), "channel_names": {"first": "CT"}})
    with pytest.raises(DataError, match="channel 'first' has no number"):
        import_nnunet(nnunet)


@pytest.mark.parametrize("shares", [Shares(labelled=11), Shares(validation=5, test=5), Shares(labelled=0)])
def test_more_than_there_is_cannot_be_dealt_out(tmp_path, shares):
    with pytest.raises(DataError, match="10 labelled patients cannot be dealt out"):
        import_decathlon(write_json(tmp_path, decathlon_document()), shares=shares)


@pytest.fixture
def nnunet(tmp_path: Path) -> Path:
    folder = tmp_path / "Dataset001_Two"
    for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (folder / name).mkdir(parents=True)
    volume = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    for number in range(4):
        for channel in range(2):
            write_volume(volume, folder / "imagesTr" / f"case_{number:02d}_{channel:04d}.nii.gz")
        if number != 3:
            write_volume(volume, folder / "labelsTr" / f"case_{number:02d}.nii.gz")
    write_volume(volume, folder / "imagesTs" / "case_90_0000.nii.gz")
    write_volume(volume, folder / "imagesTs" / "case_91_0000.nii.gz")
    write_volume(volume, folder / "labelsTs" / "case_91.nii.gz")
    (folder / "imagesTr" / "notes.txt").write_text("no image")
    write_json(
        folder,
        {
            "channel_names": {"0": "CT", "1": "T2 w"},
            "labels": {"background": 0, "liver": 1, "spleen": 2},
            "numTraining": 4,
            "file_ending": ".nii.gz",
        },
    )
    return folder


def test_nnunet(nnunet):
    datalist = import_nnunet(nnunet, shares=Shares(validation=1))
    assert datalist.modality_names == ("ct", "t2_w")
    assert datalist.name == "Dataset001_Two"
    splits = {case.case: case.split for case in datalist.cases}
    assert splits["case_03"] == "unlabelled"
    assert splits["case_90"] == "unlabelled"
    assert splits["case_91"] == "test"
    assert sorted(splits[f"case_0{number}"] for number in range(3)) == ["labelled", "labelled", "validation"]
    labelled = datalist.split("labelled")[0]
    assert set(labelled.images) == set(labelled.labels) == {"ct", "t2_w"}
    assert import_nnunet(nnunet / "dataset.json", shares=Shares(validation=1)) == datalist


def test_nnunet_of_the_first_version(nnunet):
    write_json(
        nnunet, {"name": "Old", "modality": {"0": "CT", "1": "MRI"}, "labels": {"0": "background", "1": "tumour"}}
    )
    datalist = import_nnunet(nnunet)
    assert (datalist.name, datalist.modality_names, datalist.classes.names) == ("Old", ("ct", "mri"), ("tumour",))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"channel_names": {"0": "CT"}}, "channel 1, but dataset.json names 1"),
        ({"labels": {"background": 0, "whole": [1, 2], "core": 2}}, "'whole' is a region"),
        ({"labels": {"background": 0, "liver": 1, "ignore": 2}}, "an ignore label is not supported"),
        ({"labels": {"background": 0, "liver": "one"}}, "has no integer value"),
        ({"file_ending": ".png"}, "files end in .png; only NIfTI is read"),
        ({"channel_names": None}, 'neither "channel_names" nor "modality"'),
        ({"file_ending": ".nii"}, "imagesTr holds no CASE_0000.nii"),
    ],
)
def test_what_cannot_be_an_nnunet_data_set_is_refused(nnunet, change, part):
    write_json(nnunet, {**json.loads((nnunet / "dataset.json").read_text()), **change})
    with pytest.raises(DataError, match=part):
        import_nnunet(nnunet)


def test_words_of_other_programs():
    assert modality_spec("CT").intensity.unit == "HU"
    assert modality_spec("T1-weighted MRI").name == "t1-weighted_mri"
    assert modality_spec("3T").name == "m3t"
    assert modality_spec("  ").name == "image"
    assert modality_spec("ctscan").intensity.unit == "arbitrary"
    assert shared_name(["p1_flair", "p1_t1c"]) == "p1"
    assert shared_name(["a", "b"]) == "a"
