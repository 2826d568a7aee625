"""Naming a fault: exchanged classes, shifted maps, and no name where there is no simple one."""

from __future__ import annotations

import numpy as np
import pytest

from cmc_sdk.runtime.gate.diagnosis import name_fault

CLASSES = ("liver", "spleen")
AFFINE = np.array([[0, 0, -1.5, 0], [0, 1.5, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])  # first voxel axis runs along z


def scene() -> np.ndarray:
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[4:16, 5:20, 6:24] = 1
    labels[20:26, 10:22, 10:20] = 2
    return labels


def name(candidate: np.ndarray) -> str | None:
    return name_fault(scene(), candidate, classes=CLASSES, affine_mm=AFFINE, spacing_mm=(3.0, 3.0, 3.0))


def test_exchanged_classes() -> None:
    swapped = np.array([0, 2, 1], np.uint8)[scene()]
    assert name(swapped) == "it looks as if liver and spleen had changed places"
    inverted = np.array([1, 0, 2], np.uint8)[scene()]
    assert name(inverted) == "it looks as if background and liver had changed places"


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_shifts_by_a_voxel_of_the_scan_and_of_the_model_grid(axis: int, sign: int) -> None:
    direction = ("+" if sign > 0 else "-") + "xyz"[axis]
    spacing = (3.0, 1.5, 1.5)[axis]
    assert name(np.roll(scene(), sign, axis)) == (
        f"it looks as if the labels lay {spacing:.1f} mm (1 voxel) too far along {direction}"
    )
    if axis > 0:  # two voxels of the scan are one of the model grid
        assert name(np.roll(scene(), 2 * sign, axis)) == (
            f"it looks as if the labels lay 3.0 mm (2 voxels) too far along {direction}"
        )


def test_noise_and_equal_maps_have_no_name() -> None:
    noisy = scene()
    noisy[np.random.default_rng(0).random(noisy.shape) < 0.02] = 2
    assert name(noisy) is None
    assert name(scene()) is None
