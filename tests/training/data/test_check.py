"""Every fault of a data list is named, each with its case and its mend, and a good list has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from cmc_sdk.imaging.nifti import read_nifti, write_volume
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.training.data import check as check_module
from cmc_sdk.training.data.check import check_datalist
from cmc_sdk.training.data.datalist import Datalist, load_datalist
from cmc_sdk.training.data.values import hounsfield_fault
from tests.training.data.scenes import oriented_affine, write_list

SIZE = (12, 11, 10)
AFFINE = oriented_affine("LPS", spacing=(2, 2, 3), size=SIZE)
CLASSES = [
    "liver",
    {"name": "left kidney", "mirror": "right kidney"},
    {"name": "right kidney", "mirror": "left kidney"},
]


def ct(seed: int) -> np.ndarray:
    image = np.full(SIZE, -1000, dtype=np.int16)
    image[2:-2, 2:-2] = np.random.default_rng(seed).integers(-100, 200, size=image[2:-2, 2:-2].shape)
    return image


def organs() -> np.ndarray:
    label = np.zeros(SIZE, dtype=np.uint8)
    label[3:6, 3:6, 2:7], label[7:9, 3:5, 2:7], label[7:9, 6:8, 2:7] = 1, 2, 3
    return label


@pytest.fixture
def study(tmp_path: Path) -> dict:
    """A faultless registered study of four cases; tests spoil a copy of the document or the files."""
    cases = []
    for number, split in enumerate(("labelled", "unlabelled", "validation", "test")):
        case = {"case": f"c{number}", "patient": f"p{number}", "split": split, "images": {}, "labels": {}}
        for place, modality in enumerate(("ct", "mr")):
            image = ct(10 * number + place)
            image = image if modality == "ct" else np.maximum(image, 0)
            write_volume(Volume(image, AFFINE), tmp_path / f"c{number}_{modality}.nii.gz")
            write_volume(Volume(organs(), AFFINE), tmp_path / f"c{number}_{modality}_label.nii.gz")
            case["images"][modality] = f"c{number}_{modality}.nii.gz"
            case["labels"][modality] = f"c{number}_{modality}_label.nii.gz"
        if split == "unlabelled":
            del case["labels"]
        cases.append(case)
    modalities = [{"name": "ct", "intensity": {"clip": [-175, 250], "unit": "HU"}}, {"name": "mr"}]
    return {
        "folder": tmp_path,
        "document": {
            "name": "s", "modalities": modalities, "classes": list(CLASSES), "pairing": "registered", "cases": cases,
        },
    }  # fmt: skip


def load(study: dict) -> Datalist:
    return load_datalist(write_list(study["folder"], study["document"]))


def found(study: dict) -> set[tuple[str, str, str]]:
    return {(fault.code, fault.case, fault.severity) for fault in check_datalist(load(study))}


def rewrite(study: dict, name: str, change) -> None:
    """Replace the voxels of a file by `change(voxels)`."""
    volume = read_nifti(study["folder"] / name)
    write_volume(volume.with_array(change(volume.stored.copy())), study["folder"] / name)


def test_a_good_list_has_no_fault(study):
    assert check_datalist(load(study)) == []


def test_progress_is_told(study):
    seen = []
    check_datalist(load(study), progress=lambda *state: seen.append(state))
    assert seen == [("checking", done, 4) for done in (1, 2, 3, 4)]


def test_masks_of_unlabelled_cases_are_not_opened(study, monkeypatch):
    study["document"]["cases"][1]["labels"] = {"ct": "c0_ct_label.nii.gz"}
    opened = []

    def spy(path, *, label=False):
        opened.append((Path(path).name, label))
        return read_nifti(path, label=label)

    monkeypatch.setattr(check_module, "read_nifti", spy)
    labelled_only = load(study)
    labelled_only = labelled_only.model_copy(update={"cases": labelled_only.split("unlabelled")})
    faults = check_datalist(labelled_only)
    assert opened == [("c1_ct.nii.gz", False), ("c1_mr.nii.gz", False)]
    assert ("label-never-read", "warning") in {(fault.code, fault.severity) for fault in faults}


def test_files(study):
    folder = study["folder"]
    (folder / "c0_ct.nii.gz").unlink()
    (folder / "c2_mr_label.nii.gz").unlink()
    (folder / "c3_ct.nii.gz").write_bytes((folder / "c3_ct.nii.gz").read_bytes()[:200])
    assert found(study) == {
        ("missing-file", "c0", "error"),
        ("missing-file", "c2", "error"),
        ("unreadable", "c3", "error"),
    }


def test_patients_labels_and_splits(study):
    cases = study["document"]["cases"]
    cases[3]["patient"] = "p0"
    del cases[0]["labels"]["mr"]
    del cases[2]["labels"]
    cases[2]["images"].pop("mr")
    faults = {(fault.code, fault.case) for fault in check_datalist(load(study)) if fault.severity == "error"}
    assert faults == {("patient-in-two-splits", ""), ("missing-label", "c0"), ("missing-label", "c2")}
    text = " ".join(fault.message for fault in check_datalist(load(study)))
    assert "patient p0 stands in labelled (c0), test (c3)" in text
    assert ("missing-modality", "c2", "warning") in found(study)


def test_no_labelled_case(study):
    study["document"]["cases"][0]["split"] = "validation"
    assert ("empty-split", "", "error") in found(study)


def test_a_label_without_its_image(study):
    study["document"]["cases"][0]["images"].pop("mr")
    assert ("label-without-image", "c0", "error") in found(study)


def test_label_on_another_grid(study):
    label = read_nifti(study["folder"] / "c0_ct_label.nii.gz")
    moved = label.affine_mm.copy()
    moved[0, 3] += 0.5
    write_volume(Volume(label.stored, moved), study["folder"] / "c0_ct_label.nii.gz")
    write_volume(Volume(label.stored[:-1], label.affine_mm), study["folder"] / "c2_mr_label.nii.gz")
    assert {("grid-differs", "c0", "error"), ("grid-differs", "c2", "error")} == found(study)


def test_label_values(study):
    rewrite(study, "c0_ct_label.nii.gz", lambda voxels: np.where(voxels == 3, 7, voxels).astype(np.uint8))
    rewrite(study, "c2_ct_label.nii.gz", lambda voxels: voxels * np.float32(0.5))
    rewrite(study, "c3_mr_label.nii.gz", lambda voxels: voxels * np.float64(0.99999997))
    faults = {item for item in found(study) if item[0].startswith("label-")}
    assert faults == {("label-outside-table", "c0", "error"), ("label-values", "c2", "error")}


def test_empty_labels(study):
    for name in ("c0_ct", "c0_mr", "c3_ct"):
        rewrite(study, f"{name}_label.nii.gz", np.zeros_like)
    faults = {item for item in found(study) if item[0] == "empty-label"}
    assert faults == {("empty-label", "c0", "error"), ("empty-label", "c3", "warning")}


def test_a_class_that_is_never_labelled(study):
    study["document"]["classes"].append("spleen")
    messages = [fault.message for fault in check_datalist(load(study)) if fault.code == "class-never-labelled"]
    assert messages == ["class 'spleen' occurs in no labelled case"]


def test_lateral_classes_without_a_mirror(study):
    study["document"]["classes"] = ["liver", "left kidney", "right kidney"]
    faults = [fault for fault in check_datalist(load(study)) if fault.code == "lateral-without-mirror"]
    assert [fault.message for fault in faults] == [
        "class 'left kidney' names a side but no mirror",
        "class 'right kidney' names a side but no mirror",
    ]
    assert faults[0].mend == "add `mirror: right kidney`"


def test_registered_pairs(study):
    # c0: another grid in the same frame. c1: nowhere near. c2: labels that do not agree.
    volume = read_nifti(study["folder"] / "c0_mr.nii.gz")
    label = read_nifti(study["folder"] / "c0_mr_label.nii.gz")
    write_volume(Volume(volume.stored[:, 1:], volume.affine_mm), study["folder"] / "c0_mr.nii.gz")
    write_volume(Volume(label.stored[:, 1:], label.affine_mm), study["folder"] / "c0_mr_label.nii.gz")
    far = AFFINE.copy()
    far[2, 3] += 500
    write_volume(Volume(np.maximum(ct(99), 0), far), study["folder"] / "c1_mr.nii.gz")
    rewrite(study, "c2_mr_label.nii.gz", lambda voxels: np.roll(voxels, 5, axis=2))
    expected = {
        ("grids-of-pair-differ", "c0", "warning"),
        ("no-overlap", "c1", "error"),
        ("labels-disagree", "c2", "warning"),
    }
    assert found(study) == expected
    study["document"]["pairing"] = "misaligned"
    assert found(study) == {("no-overlap", "c1", "error")}
    study["document"]["pairing"] = "unpaired"
    assert found(study) == set()


def test_images_that_cannot_be_right(study):
    rewrite(study, "c1_mr.nii.gz", lambda voxels: np.full_like(voxels, 7))
    image = read_nifti(study["folder"] / "c2_mr.nii.gz").stored.astype(np.float32)
    image[0, 0, 0] = np.nan
    # Our writer refuses nothing here; the reader is what must.
    write_volume(Volume(image, AFFINE), study["folder"] / "c2_mr.nii.gz")
    assert found(study) == {("constant-image", "c1", "error"), ("unreadable", "c2", "error")}


def test_geometry_that_is_doubtful_or_missing(study):
    for name, codes, shift in (("c1_ct", (1, 1), 0.7), ("c1_mr", (0, 0), 0.0)):
        path = study["folder"] / f"{name}.nii.gz"
        image = nibabel.load(path)
        affine = image.affine.copy()
        copy = nibabel.Nifti1Image(np.asarray(image.dataobj), affine)
        affine[1, 3] += shift
        copy.set_sform(image.affine, code=codes[0])
        copy.set_qform(affine, code=codes[1])
        nibabel.save(copy, path)
    assert found(study) == {("geometry", "c1", "warning"), ("geometry", "c1", "error")}


def test_the_same_image_twice(study):
    (study["folder"] / "c3_ct.nii.gz").write_bytes((study["folder"] / "c0_ct.nii.gz").read_bytes())
    faults = check_datalist(load(study))
    assert [fault.code for fault in faults] == ["duplicate-image"]
    assert "c0 (ct, labelled), c3 (ct, test)" in faults[0].message


@pytest.mark.parametrize(
    ("change", "severity", "part"),
    [
        (lambda hu: hu, None, ""),
        (lambda hu: (hu + 1024).astype(np.uint16), "error", "HU plus 1000 or 1024"),
        (lambda hu: ((hu + 1024) / 1300).astype(np.float32), "error", "no Hounsfield units"),
        (lambda hu: np.clip(hu, 0, None), "warning", "nothing is below 0"),
        (lambda hu: np.clip(hu, -150, None), "warning", "nothing is near air"),
        (lambda hu: ((hu - hu.mean()) / hu.std()).astype(np.float32), "error", "no Hounsfield units"),
    ],
)
def test_hounsfield_units(study, change, severity, part):
    rewrite(study, "c1_ct.nii.gz", change)
    faults = [fault for fault in check_datalist(load(study)) if fault.code == "unit"]
    if severity is None:
        assert faults == []
    else:
        assert [(fault.case, fault.severity) for fault in faults] == [("c1", severity)]
        assert part in faults[0].message


@pytest.mark.parametrize(
    ("change", "faulty"),
    [
        (lambda mr: mr, False),
        (lambda mr: (mr - 50.0).astype(np.float32), True),  # much of it below 0, and no border of one value
        (lambda mr: np.where(mr > 0, mr - 50.0, -50.0).astype(np.float32), False),
    ],
)
def test_a_foreground_that_would_be_half_of_the_body(study, change, faulty):
    image = read_nifti(study["folder"] / "c2_mr.nii.gz").stored.astype(np.float32)
    if faulty:
        image += np.random.default_rng(0).uniform(0, 5, image.shape).astype(np.float32)
    else:
        image[0], image[-1], image[:, 0], image[:, -1], image[..., 0], image[..., -1] = [0] * 6
    rewrite(study, "c2_mr.nii.gz", lambda _: change(image))
    faults = [fault for fault in check_datalist(load(study)) if fault.code == "foreground"]
    assert [(fault.case, fault.severity) for fault in faults] == ([("c2", "warning")] if faulty else [])
    if faulty:
        assert "% lies below 0" in faults[0].message


def test_units_of_an_offset_scan_with_much_air():
    values = np.concatenate([np.zeros(500), np.full(500, 1060.0), np.full(50, 2000.0)]).reshape(10, 15, 7)
    fault = hounsfield_fault(values, low=0.0, high=2000.0)
    assert fault is not None
    assert not fault.unsure


def test_all_faults_come_at_once(study):
    study["document"]["cases"][3]["patient"] = "p0"
    study["document"]["classes"] = ["liver", "left kidney", "right kidney"]
    rewrite(study, "c0_ct_label.nii.gz", lambda voxels: np.where(voxels == 1, 9, voxels).astype(np.uint8))
    (study["folder"] / "c1_ct.nii.gz").unlink()
    rewrite(study, "c2_mr.nii.gz", np.zeros_like)
    faults = check_datalist(load(study))
    assert {fault.code for fault in faults} >= {
        "patient-in-two-splits", "lateral-without-mirror", "label-outside-table", "missing-file", "constant-image",
    }  # fmt: skip
    for fault in faults:
        assert fault.message
        assert fault.mend
        assert replace(fault) == fault
