"""The measures against plain mathematics, against MONAI, and in their awkward corners."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cmc_sdk import Volume
from cmc_sdk.errors import GeometryError
from cmc_sdk.training.evaluation.metrics import OrganScore, score_labels, score_organ
from tests.reference.surfaces import measures

SPACINGS = [(1.0, 1.0, 1.0), (0.8, 0.8, 2.5), (3.0, 1.5, 0.7)]


def random_mask(rng: np.random.Generator, shape: tuple[int, int, int], share: float) -> np.ndarray:
    field = rng.standard_normal(shape)
    for axis in range(3):
        field = field + np.roll(field, 1, axis) + np.roll(field, -1, axis)
    return np.asarray(field > np.quantile(field, 1 - share))


def sheared_affine() -> np.ndarray:
    affine = np.diag([1.2, -0.9, 2.0, 1.0])
    affine[1, 2], affine[0, 1], affine[:3, 3] = 0.7, 0.3, (12.0, -40.0, 7.0)
    return affine


def compare(score: OrganScore, expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert getattr(score, name) == pytest.approx(value, rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_plain_mathematics(spacing: tuple[float, float, float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, reference = (random_mask(rng, (9, 8, 7), 0.25) for _ in range(2))
    affine = np.diag([*spacing, 1.0])
    score = score_organ(predicted, reference=reference, affine_mm=affine, tolerance_mm=1.6)
    compare(score, measures(predicted, reference, affine, 1.6))
    assert not score.missed


def test_equals_plain_mathematics_on_a_sheared_left_handed_grid() -> None:
    rng = np.random.default_rng(5)
    predicted, reference = (random_mask(rng, (8, 7, 6), 0.3) for _ in range(2))
    score = score_organ(predicted, reference=reference, affine_mm=sheared_affine())
    compare(score, measures(predicted, reference, sheared_affine(), 2.0))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_equals_monai(spacing: tuple[float, float, float]) -> None:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    rng = np.random.default_rng(3)
    predicted, reference = (random_mask(rng, (20, 18, 12), 0.2) for _ in range(2))
    score = score_organ(predicted, reference=reference, affine_mm=np.diag([*spacing, 1.0]), tolerance_mm=2.0)
    y_pred, y = (torch.as_tensor(np.stack([~mask, mask]))[None] for mask in (predicted, reference))
    given = {"y_pred": y_pred, "y": y, "spacing": spacing}
    assert score.asd_mm == pytest.approx(
        metrics.compute_average_surface_distance(**given, symmetric=True).item(), rel=1e-5
    )
    assert score.hd95_mm == pytest.approx(metrics.compute_hausdorff_distance(**given, percentile=95).item(), rel=1e-5)
    assert score.nsd == pytest.approx(metrics.compute_surface_dice(**given, class_thresholds=[2.0]).item(), rel=1e-5)
    assert score.dice == pytest.approx(metrics.compute_dice(y_pred, y, include_background=False).item(), rel=1e-6)


def test_identical_masks_are_perfect() -> None:
    mask = random_mask(np.random.default_rng(0), (12, 10, 8), 0.2)
    score = score_organ(mask, reference=mask, affine_mm=np.diag([1.0, 2.0, 3.0, 1.0]))
    assert (score.dice, score.nsd, score.asd_mm, score.hd95_mm) == (1.0, 1.0, 0.0, 0.0)
    assert score.false_positive_ml == 0.0
    assert score.reference_ml == pytest.approx(mask.sum() * 6 / 1000)


def test_a_shift_is_measured_in_millimetres_along_its_own_axis() -> None:
    for axis, spacing in enumerate((0.5, 2.0, 4.0)):
        reference = np.zeros((12, 12, 12), bool)
        reference[4:8, 4:8, 4:8] = True
        score = score_organ(np.roll(reference, 1, axis), reference=reference, affine_mm=np.diag([0.5, 2.0, 4.0, 1.0]))
        assert score.hd95_mm == pytest.approx(spacing)
        assert 0 < score.asd_mm < spacing


def test_an_absent_organ_is_nan_and_its_false_volume_is_reported() -> None:
    empty, some = np.zeros((6, 6, 6), bool), np.zeros((6, 6, 6), bool)
    some[2:4, 2:4, 2:4] = True
    score = score_organ(some, reference=empty, affine_mm=np.diag([10.0, 10.0, 10.0, 1.0]))
    assert all(math.isnan(value) for value in (score.dice, score.asd_mm, score.hd95_mm, score.nsd))
    assert (score.false_positive_ml, score.reference_ml, score.predicted_ml) == pytest.approx((8.0, 0.0, 8.0))
    assert not score.missed
    quiet = score_organ(empty, reference=empty, affine_mm=np.eye(4))
    assert math.isnan(quiet.dice)
    assert quiet.false_positive_ml == 0.0


def test_a_missed_organ_has_dice_0_and_the_image_diagonal() -> None:
    reference = np.zeros((10, 20, 5), bool)
    reference[0, 0, 0] = True
    affine = np.diag([3.0, 1.0, 4.0, 1.0])
    score = score_organ(np.zeros_like(reference), reference=reference, affine_mm=affine)
    diagonal = math.sqrt(30.0**2 + 20.0**2 + 20.0**2)
    assert (score.dice, score.nsd, score.missed) == (0.0, 0.0, True)
    assert score.asd_mm == pytest.approx(diagonal)
    assert score.hd95_mm == pytest.approx(diagonal)
    touched = reference.copy()
    touched[-1, -1, -1] = True
    assert score_organ(touched, reference=reference, affine_mm=affine).hd95_mm < diagonal


def test_organs_at_the_border_of_the_volume_have_a_surface_there() -> None:
    whole = np.ones((4, 4, 4), bool)
    assert score_organ(whole, reference=whole, affine_mm=np.eye(4)).dice == 1.0


def test_label_maps_are_scored_by_name_and_must_share_a_grid() -> None:
    reference = np.zeros((8, 8, 8), np.uint8)
    reference[1:4], reference[5:7] = 1, 2
    predicted = reference.copy()
    predicted[6] = 1
    volume = Volume(reference, np.diag([2.0, 2.0, 2.0, 1.0]), name="ref")
    scores = score_labels(volume.with_array(predicted), reference=volume, classes={"liver": 1, "spleen": 2, "none": 3})
    assert scores["spleen"].dice == pytest.approx(2 * 64 / (64 + 128))
    assert scores["liver"].false_positive_ml == pytest.approx(64 * 8 / 1000)
    assert math.isnan(scores["none"].dice)
    with pytest.raises(GeometryError, match="does not lie on the grid"):
        score_labels(Volume(predicted, np.eye(4)), reference=volume, classes={"liver": 1})


def test_label_maps_give_the_scores_of_their_masks_one_by_one() -> None:
    rng = np.random.default_rng(8)
    reference, predicted = np.zeros((2, 18, 16, 12), np.uint8)
    for value in (1, 2, 3):
        reference[random_mask(rng, reference.shape, 0.06)] = value
        predicted[random_mask(rng, reference.shape, 0.06)] = value
    predicted[predicted == 3] = 0
    volume = Volume(reference, sheared_affine())
    classes = {"one": 1, "two": 2, "missed": 3, "absent": 4}
    scores = score_labels(volume.with_array(predicted), reference=volume, classes=classes)
    for name, value in classes.items():
        whole = score_organ(predicted == value, reference=reference == value, affine_mm=sheared_affine())
        assert str(scores[name]) == str(whole)
    assert scores["missed"].missed
