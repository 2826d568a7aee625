"""Intensity statistics and normalisation against numpy on the whole array."""

from __future__ import annotations

import numpy as np
import pytest

from cmc_sdk import Volume
from cmc_sdk.bundle.manifest import IntensityRule
from cmc_sdk.runtime.core import Threads, intensity_statistics, normalise, normalised_background

CLIPPED = IntensityRule(clip=(-150.0, 250.0), unit="HU")
RULES = [IntensityRule(), CLIPPED, IntensityRule(clip=(-175.0, 250.0), scale="unit_range", unit="HU")]


def body(*, border, seed=0, size=(15, 12, 11), dtype=np.int16):
    """Noise from -400 to 600 inside a border of one value."""
    array = np.full(size, border, dtype)
    array[2:-3, 1:-2, 3:-1] = np.random.default_rng(seed).integers(-400, 600, (10, 9, 7))
    return array


def open_sided(seed=1):
    return np.random.default_rng(seed).integers(-500, 500, (9, 14, 8)).astype(np.float32)


def touching(*, voxels, seed=2):
    """A body inside a border of one value, and `voxels` voxels of it in the lowest plane: 1,128 are in the faces."""
    array = np.full((16, 14, 11), -3.5, np.float32)
    array[3:-3, 2:-2, 1:-2] = np.random.default_rng(seed).normal(0, 1, (10, 10, 8))
    plane = array[1:-1, 1:-1, 0]
    plane.flat = np.where(np.arange(plane.size) < voxels, 0.25, plane.ravel())
    return array


@pytest.mark.parametrize(("voxels", "constant"), [(0, True), (4, True), (55, True), (56, False)])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_body_may_touch_the_border(voxels, constant, axes):
    array = np.ascontiguousarray(touching(voxels=voxels).transpose(axes))
    found = intensity_statistics(Volume(array, np.eye(4)), IntensityRule())
    assert found.has_border == constant
    assert found.background == -3.5 if constant else array.min()
    chosen = array[array != -3.5] if constant else array[array > 0]
    np.testing.assert_allclose([found.mean, found.std], [chosen.mean(), chosen.std()], rtol=1e-5)


def test_the_border_is_what_most_voxels_hold_not_the_first():
    array = touching(voxels=0)
    array[0, 0, 0] = 7.0
    found = intensity_statistics(Volume(array, np.eye(4)), IntensityRule())
    assert found.has_border
    assert found.background == -3.5


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "array", [body(border=-1024), body(border=0), body(border=0.5, dtype=np.float64), open_sided()]
)
def test_statistics_are_those_of_numpy(array, rule, layout, count):
    volume = Volume(np.asarray(array, order=layout), np.eye(4))
    found = intensity_statistics(volume, rule, threads=Threads(count))
    border = array[0, 0, 0]
    faces = [array[0], array[-1], array[:, 0], array[:, -1], array[:, :, 0], array[:, :, -1]]
    constant = all((face == border).all() for face in faces)
    mask = array != border if constant else array > 0
    chosen = array[mask].astype(np.float64)
    clipped = np.clip(chosen, *rule.clip) if rule.clip else chosen
    assert found.finite
    assert found.has_border == constant
    assert found.background == (border if constant else array.min())
    assert (found.minimum, found.maximum) == (array.min(), array.max())
    np.testing.assert_allclose([found.mean, found.std], [clipped.mean(), clipped.std()], rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(found.foreground_mean, chosen.mean(), rtol=1e-6)
    assert found.foreground_fraction == mask.mean()
    where = np.nonzero(mask)
    assert found.body_box_vox == (
        tuple(int(axis.min()) for axis in where),
        tuple(int(axis.max()) + 1 for axis in where),
    )


def test_a_large_offset_does_not_lose_the_spread():
    array = (1e4 + np.random.default_rng(0).normal(0, 0.5, (40, 40, 40))).astype(np.float32)
    found = intensity_statistics(Volume(array, np.eye(4)), IntensityRule())
    np.testing.assert_allclose(found.std, array.std(dtype=np.float64), rtol=1e-5)


def test_a_scan_of_one_value_has_no_foreground():
    found = intensity_statistics(Volume(np.full((5, 5, 5), -1024, np.int16), np.eye(4)), CLIPPED)
    assert (found.foreground_fraction, found.std, found.mean, found.foreground_mean) == (0.0, 0.0, -150.0, -1024.0)
    assert found.body_box_vox == ((0, 0, 0), (5, 5, 5))
    assert (normalise(np.full((2, 2, 2), -1024), rule=CLIPPED, statistics=found) == 0).all()


def test_an_open_scan_without_positive_voxels_has_no_foreground():
    array = -np.abs(open_sided()) - 1
    found = intensity_statistics(Volume(array, np.eye(4)), IntensityRule())
    assert not found.has_border
    assert found.foreground_fraction == 0.0
    np.testing.assert_allclose(found.foreground_mean, array.mean(), rtol=1e-5)
    assert np.isfinite(normalise(array, rule=IntensityRule(), statistics=found)).all()


@pytest.mark.parametrize("size", [(9, 9, 1), (9, 2, 9), (1, 1, 1), (2, 2, 2)])
def test_thin_axes_have_no_border(size):
    array = np.zeros(size, np.float32)
    found = intensity_statistics(Volume(array, np.eye(4)), IntensityRule())
    assert found.has_border == any(count >= 3 for count in size)
    array[tuple(count // 2 for count in size)] = 5.0
    found = intensity_statistics(Volume(array, np.eye(4)), IntensityRule())
    assert found.foreground_fraction == 1 / array.size


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_voxel_that_is_not_finite_is_seen(bad):
    for place in [(0, 0, 0), (8, 13, 7), (4, 6, 3)]:
        array = open_sided()
        array[place] = bad
        assert not intensity_statistics(Volume(array, np.eye(4)), CLIPPED).finite


def test_scaled_integers_count_as_true_values():
    stored = body(border=100)
    scaled = Volume(stored, np.eye(4), slope=2.0, intercept=-1224.0)
    found, plain = (intensity_statistics(v, CLIPPED) for v in (scaled, Volume(scaled.data, np.eye(4))))
    assert found == plain
    assert found.background == -1024.0


@pytest.mark.parametrize("rule", RULES)
def test_normalise_by_hand(rule):
    array = body(border=-1024)
    found = intensity_statistics(Volume(array, np.eye(4)), rule)
    values = array.astype(np.float64)
    if rule.clip:
        values = np.clip(values, *rule.clip)
    low, high = rule.clip or (0.0, 0.0)
    expected = (values - low) / (high - low) if rule.scale == "unit_range" else (values - found.mean) / found.std
    kept = array.copy()
    out = normalise(array, rule=rule, statistics=found)
    assert out.dtype == np.float32
    assert np.array_equal(array, kept)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    assert normalised_background(rule, found) == out[0, 0, 0]
    foreground = out[array != -1024]
    if rule.scale == "zscore":
        np.testing.assert_allclose([foreground.mean(), foreground.std()], [0, 1], atol=1e-4)
