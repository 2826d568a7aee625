"""The native core against the numpy core in tests/reference/core, from the scan to its labels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cmc_sdk.bundle.manifest import IntensityRule
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime import core
from tests.reference.core import accumulate as reference_accumulate
from tests.reference.core import geometry as reference_geometry
from tests.reference.core import intensity as reference_intensity
from tests.reference.core import sampling as reference_sampling
from tests.reference.core import windows as reference_windows
from tests.runtime.core.grids import make_affine, move_centre

CLASSES = 5
WINDOW = (24, 20, 28)
DATA = Path(os.environ.get("CMC_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
RULES = [IntensityRule(), IntensityRule(clip=(-200, 300), unit="HU"), IntensityRule(clip=(0, 400), scale="unit_range")]


def network(window):
    """Logits that depend on the value and, softly, on the place in the window, without a tie anywhere."""
    x, y, z = (np.linspace(-1, 1, size, dtype=np.float32) for size in window.shape)
    place = 0.1 * (x[:, None, None] + y[:, None] * z)
    return np.stack([-np.square(window - centre) + place * k for k, centre in enumerate((-1.5, -0.5, 0.1, 0.8, 2.0))])


def label(module, volume, *, rule, spacing, overlap=0.5, grid=None):
    """The whole path of one scan with the functions of `module`; labels, confidence, grid."""
    statistics = module.intensity_statistics(volume, rule)
    grid = grid or module.model_grid(volume.affine_mm, volume.size_vox, spacing_mm=spacing)
    starts = module.window_starts(grid.size_vox, window_vox=WINDOW, overlap=overlap)
    accumulator = module.Accumulator(
        grid,
        target_affine_mm=volume.affine_mm,
        target_size_vox=volume.size_vox,
        num_classes=CLASSES,
        window_vox=WINDOW,
        starts=starts,
    )
    axis = module.longest_axis(grid.size_vox)
    sampler = None
    if hasattr(module, "WindowSampler"):
        sampler = module.WindowSampler(
            volume, grid=grid, window_vox=WINDOW, starts=starts, rule=rule, statistics=statistics
        )
    for start in sorted(starts, key=lambda item: (item[axis], item)):
        if sampler is not None:
            window, _ = sampler.window(start, threads=core.Threads(2))
        else:
            affine = grid.affine_mm.copy()
            affine[:3, 3] += affine[:3, :3] @ np.array(start, np.float64)
            raw = module.sample_window(volume, affine_mm=affine, size_vox=WINDOW, background=statistics.background)
            window = module.normalise(raw, rule=rule, statistics=statistics)
        accumulator.add(network(window), start=start)
    labels, confidence, counts, _ = accumulator.finish()
    assert counts.tolist() == np.bincount(labels.ravel(), minlength=CLASSES).tolist()
    return labels, confidence


class Reference:
    """The numpy functions under the names of the native ones."""

    intensity_statistics = staticmethod(reference_intensity.intensity_statistics)
    model_grid = staticmethod(reference_geometry.model_grid)
    window_starts = staticmethod(reference_windows.window_starts)
    longest_axis = staticmethod(reference_windows.longest_axis)
    sample_window = staticmethod(reference_sampling.sample_window)
    normalise = staticmethod(reference_intensity.normalise)
    Accumulator = reference_accumulate.Accumulator


def compare(volume, *, rule=RULES[0], spacing=(2.0, 2.0, 2.0), grid=None):
    ours, sure = label(core, volume, rule=rule, spacing=spacing, grid=grid)
    theirs, confidence = label(Reference, volume, rule=rule, spacing=spacing, grid=grid)
    differing = ours != theirs
    # A tie of two classes is a confidence of a half at most, the same on both sides.
    assert differing.sum() <= max(1, ours.size // 10_000), f"{differing.sum()} of {ours.size} voxels"
    assert (confidence[differing] <= 129).all()
    assert np.abs(sure.astype(int) - confidence).max() <= 1
    return ours


def scan(size, affine, *, dtype=np.int16, seed=0, **scaling):
    rng = np.random.default_rng(seed)
    axes = [np.arange(count) for count in size]
    waves = sum(np.sin(axis / (5 + 2 * i))[tuple(slice(None) if i == j else None for j in range(3))]
                for i, axis in enumerate(axes))  # fmt: skip
    values = 100 + 80 * waves + rng.normal(0, 20, size)
    values[:2] = values[-2:] = values[:, :2] = values[:, -2:] = values[:, :, :2] = values[:, :, -2:] = -50
    return Volume(values.astype(dtype), affine, **scaling)


AFFINES = {
    "straight": make_affine(spacing=(1.1, 1.2, 2.5)),
    "flipped": make_affine(spacing=(1.1, 1.2, 2.5)) @ np.diag([-1.0, -1.0, 1.0, 1.0]),
    "permuted": make_affine(spacing=(1.5, 0.9, 2.0), order=(2, 0, 1)),
    "oblique": make_affine(spacing=(1.3, 1.0, 1.7), angles=(0.3, -0.2, 0.4)),
    "coarse": make_affine(spacing=(3.0, 3.5, 5.0)),
}


@pytest.mark.parametrize("kind", AFFINES)
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64])
def test_random_scans(kind: str, dtype: type) -> None:
    volume = scan((54, 47, 41), AFFINES[kind], dtype=dtype)
    compare(volume, rule=RULES[hash_of(kind) % 3])


def hash_of(word: str) -> int:
    return sum(word.encode())


def test_scaled_and_fortran_ordered() -> None:
    plain = scan((40, 44, 38), AFFINES["oblique"])
    other = Volume(np.asfortranarray(plain.stored), plain.affine_mm, slope=0.5, intercept=-20.0)
    compare(other, rule=RULES[1])


@pytest.mark.parametrize("kind", ["straight", "oblique"])
def test_a_pair_on_two_grids(kind: str) -> None:
    """The partner lies on the reference's wider grid, in another position."""
    first = scan((50, 50, 30), AFFINES["straight"])
    grid = core.model_grid(first.affine_mm, first.size_vox, spacing_mm=(2.0, 2.0, 2.0))
    centre = first.affine_mm[:3, :3] @ (np.array(first.size_vox) / 2) + first.affine_mm[:3, 3]
    partner = scan((36, 40, 28), move_centre(AFFINES[kind], (36, 40, 28), centre + 8.0), seed=3)
    grid = core.extend_grid(grid, affine_mm=partner.affine_mm, size_vox=partner.size_vox)
    compare(first, grid=grid)
    compare(partner, grid=grid)


def test_the_same_labels_twenty_times() -> None:
    volume = scan((60, 50, 44), AFFINES["oblique"])
    first, _ = label(core, volume, rule=RULES[0], spacing=(2.0, 2.0, 2.0))
    for _ in range(19):
        assert np.array_equal(label(core, volume, rule=RULES[0], spacing=(2.0, 2.0, 2.0))[0], first)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="no test data")
@pytest.mark.parametrize(
    "name",
    [
        "brats13_flair_t1c/brats_2013_pat0006_1/Flair_subtrMeanDivStd.nii.gz",
        "tcga_fg6692_native",
        "msd_hippocampus",
    ],
)
def test_real_scans(name: str) -> None:
    place = DATA / name
    paths = [place] if place.is_file() else sorted(place.rglob("*.nii.gz"))[:4]
    assert paths
    for path in paths:
        volume = read_nifti(path)
        spacing = tuple(min(4.0, 1.7 * step) for step in volume.spacing_mm)
        compare(volume, spacing=spacing)
