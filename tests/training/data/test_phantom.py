from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from cmc_sdk.errors import InputError
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.imaging.orientation import axis_codes
from cmc_sdk.training.data.check import check_datalist
from cmc_sdk.training.data.datalist import Datalist, load_datalist
from cmc_sdk.training.data.phantom import make_phantom
from cmc_sdk.training.data.phantom.anatomy import ORGANS, TISSUES, draw_anatomy
from cmc_sdk.training.data.phantom.rendering import CT_HU, MR_SIGNAL

COARSE = {"labelled": 2, "unlabelled": 2, "validation": 1, "test": 1, "spacing_mm": 14.0}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def voxels(datalist: Datalist, kind: str) -> list[tuple[str, str, np.ndarray]]:
    return [
        (case.case, name, read_nifti(path).data)
        for case in datalist.cases
        for name, path in getattr(case, kind).items()
    ]


def test_equal_seeds_give_equal_bytes(tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        make_phantom(tmp_path / name, seed=seed, **COARSE)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    other = digests(tmp_path / "three")
    images = [name for name in other if name.startswith("images")]
    assert images
    assert all(other[name] != digests(tmp_path / "one")[name] for name in images)


@pytest.mark.parametrize("pairing", ["registered", "misaligned", "unpaired"])
def test_a_phantom_has_no_fault(tmp_path, pairing):
    datalist = load_datalist(make_phantom(tmp_path / "study", pairing=pairing, **COARSE))
    assert datalist.pairing == pairing
    assert [fault for fault in check_datalist(datalist) if fault.severity == "error"] == []


def test_counts_splits_and_centres(phantom):
    counts = {split: len(phantom.split(split)) for split in ("labelled", "unlabelled", "validation", "test")}
    assert counts == {"labelled": 4, "unlabelled": 4, "validation": 1, "test": 1}
    assert all(not case.labels for case in phantom.split("unlabelled"))
    labels = {path.name for path in (phantom.cases[0].labels["ct"].parent).iterdir()}
    assert labels == {f"{case.case}_{name}.nii.gz" for case in phantom.cases if case.labels for name in ("ct", "mr")}
    assert len({case.centre for case in phantom.cases}) == 4
    grids = {}
    for case in phantom.split("labelled"):
        image = read_nifti(case.images["ct"])
        grids[case.centre] = (axis_codes(image.affine_mm), image.spacing_mm)
    assert len(set(grids.values())) == 4
    assert phantom.classes.names == ORGANS
    assert phantom.classes.mirror_permutation() == (0, 1, 2, 4, 3, 5)


def test_registered_pairs_share_grid_and_labels(phantom):
    for case in phantom.split("labelled"):
        assert read_nifti(case.images["ct"]).same_grid(read_nifti(case.images["mr"]))
        np.testing.assert_array_equal(read_nifti(case.labels["ct"]).stored, read_nifti(case.labels["mr"]).stored)


def centroid(label: np.ndarray, affine: np.ndarray, value: int) -> np.ndarray:
    return np.argwhere(label == value).mean(axis=0) @ affine[:3, :3].T + affine[:3, 3]


def test_misaligned_pairs_have_moved_in_one_frame(tmp_path):
    datalist = load_datalist(make_phantom(tmp_path / "study", pairing="misaligned", **COARSE))
    for case in datalist.split("labelled"):
        labels = {name: read_nifti(path) for name, path in case.labels.items()}
        liver = [centroid(label.stored, label.affine_mm, 1) for label in labels.values()]
        assert 5.0 < np.linalg.norm(liver[0] - liver[1]) < 50.0


def test_unpaired_patients_have_one_modality_and_every_centre_has_both(tmp_path):
    counts = {**COARSE, "labelled": 8}
    datalist = load_datalist(make_phantom(tmp_path / "study", pairing="unpaired", **counts))
    assert all(len(case.images) == 1 for case in datalist.cases)
    labelled = datalist.split("labelled")
    by_centre = {(case.centre, *case.images) for case in labelled}
    assert len(by_centre) == 8


def test_anatomy_varies_and_some_patients_lack_an_organ():
    anatomies = [draw_anatomy(np.random.default_rng(seed)) for seed in range(120)]
    organs = [{body.tissue for body in anatomy.bodies} & set(ORGANS) for anatomy in anatomies]
    assert all({"liver", "right kidney", "aorta"} <= found for found in organs)
    lacking = sum(len(found) < len(ORGANS) for found in organs)
    assert 2 <= lacking <= 25
    grid = np.stack(np.meshgrid(*[np.arange(-120, 121, 12.0)] * 3, indexing="ij")).reshape(3, -1).astype(np.float32)
    liver = [anatomy.tissue_at(grid) == TISSUES.index("liver") for anatomy in anatomies[:10]]
    volumes = [int(found.sum()) for found in liver]
    assert max(volumes) > 1.15 * min(volumes)
    overlaps = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in zip(liver[1:], liver[:-1], strict=True)]
    assert 0.5 < np.mean(overlaps) < 0.95


def test_left_is_left():
    anatomy = draw_anatomy(np.random.default_rng(0))
    grid = np.stack(np.meshgrid(*[np.arange(-120, 121, 8.0)] * 3, indexing="ij")).reshape(3, -1).astype(np.float32)
    tissue = anatomy.tissue_at(grid)
    x = {
        name: grid[0][tissue == TISSUES.index(name)].mean() for name in ORGANS if (tissue == TISSUES.index(name)).any()
    }
    assert x["liver"] > 20  # RAS: the right of the patient is at positive x
    assert x["right kidney"] > 20
    assert x["left kidney"] < -20
    assert x["spleen"] < -20


def test_organs_share_their_means_with_each_other_and_with_background():
    for means, twins in (
        (CT_HU, ("liver", "spleen", "stomach", "bowel a")),
        (CT_HU, ("right kidney", "left kidney", "bowel b")),
        (MR_SIGNAL, ("spleen", "right kidney", "left kidney", "stomach")),
        (MR_SIGNAL, ("liver", "muscle")),
        (MR_SIGNAL, ("aorta", "vena cava")),
    ):
        assert len({means[name] for name in twins}) == 1
    for means in (CT_HU, MR_SIGNAL):
        for organ in ORGANS:
            if means is CT_HU and organ == "aorta":
                continue  # an arterial phase; its Dice by intensity alone is bounded with the others'
            others = [name for name in TISSUES if name not in ORGANS and means[name] == means[organ]]
            assert others, f"{organ} could be told by its intensity"


def test_the_files_show_what_the_tables_say(phantom):
    case = phantom.split("labelled")[0]
    label = read_nifti(case.labels["ct"]).data
    ct, mr = (read_nifti(case.images[name]).data for name in ("ct", "mr"))
    assert ct.min() < -900
    assert abs(np.median(ct[label == 1]) - np.median(ct[label == 2])) < 15
    assert mr.min() == 0
    assert (mr[0] == 0).mean() > 0.9  # blanked air: a constant border


def test_intensity_alone_does_not_do(phantom):
    """Nearest class mean of z-scored intensity, fitted and tested on the same patients: still at most 0.5."""
    for modality in ("ct", "mr"):
        scores, images, labels = [], [], []
        for case in phantom.split("labelled"):
            image = read_nifti(case.images[modality]).data.astype(np.float64)
            foreground = image[image > 0]
            images.append((image.clip(-175, 300 if modality == "ct" else None) - foreground.mean()) / foreground.std())
            labels.append(read_nifti(case.labels[modality]).data)
        values, truth = np.concatenate([item.ravel() for item in images]), np.concatenate([x.ravel() for x in labels])
        means = np.array([values[truth == value].mean() for value in range(6)])
        found = np.abs(values[:, None] - means).argmin(axis=1)
        for value in range(1, 6):
            a, b = found == value, truth == value
            scores.append(2 * (a & b).sum() / (a.sum() + b.sum()))
        assert np.mean(scores) <= 0.5


def test_progress_and_refusals(tmp_path):
    seen = []
    make_phantom(tmp_path / "study", progress=lambda *state: seen.append(state), **COARSE)
    assert seen == [("phantom", done, 6) for done in range(1, 7)]
    with pytest.raises(InputError, match="exists already"):
        make_phantom(tmp_path / "study", **COARSE)
    with pytest.raises(InputError, match="folder does not exist"):
        make_phantom(tmp_path / "no" / "study", **COARSE)
    with pytest.raises(InputError, match="labelled: input should be greater than or equal to 1"):
        make_phantom(tmp_path / "other", labelled=0)
    assert not (tmp_path / "other").exists()


def test_an_interrupted_phantom_leaves_nothing(tmp_path):
    def stop(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_phantom(tmp_path / "study", progress=stop, **COARSE)
    assert list(tmp_path.iterdir()) == []
