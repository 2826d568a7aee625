"""The task: hippocampus with three labelled patients, and a second, weaker contrast derived from the image.

Modality a is the image. Modality b is what another scanner might have made of it: a non-monotonic remapping of the
intensities (dark and bright tissue become alike), blurred, with noise and a bias field. In the misaligned variant b
lies 3 to 6 mm and 5 to 10 degrees away from a, with its labels, and nobody tells the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from cmc_sdk.errors import DataError
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.core.sampling import sample_window
from cmc_sdk.training.data.randomness import random_generator

MODALITIES = ("a", "b")
CLASSES = 3
LABELLED = 3
MIN_UNLABELLED = 20
TEST = 24
GRID = 32
SPACING_MM = (1.25, 1.75, 1.375)
"""Volumes are at most 39 × 55 × 43 mm: the window of 40 × 56 × 44 mm holds each of them whole."""

FloatArray = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Patient:
    """One patient on the model grid, and its true labels on the scanner's.

    Args:
        name: Of the file.
        images: By modality, (32, 32, 32), z-scored.
        labels: By modality, (32, 32, 32) int64.
        native_labels: By modality, on the original grid.
        native_to_window: By modality, (4, 4): voxel of the original grid → voxel of the window.
        body: By modality, (3, 4): voxel of the window → place in the volume's own box, [0, 1]³.
    """

    name: str
    images: dict[str, Tensor]
    labels: dict[str, Tensor]
    native_labels: dict[str, npt.NDArray[np.int64]]
    native_to_window: dict[str, Affine]
    body: dict[str, Tensor]


@dataclass(frozen=True)
class Split:
    """Who is labelled, unlabelled and test; the test patients are the same for every seed."""

    labelled: tuple[Patient, ...]
    unlabelled: tuple[Patient, ...]
    test: tuple[Patient, ...]


def load_patients(folder: Path, *, misaligned: bool) -> tuple[Patient, ...]:
    """All image and label pairs under `folder`, by name.

    Raises:
        DataError: Too few pairs.
    """
    files = sorted((folder / "images").glob("*.nii.gz"))
    if len(files) < LABELLED + MIN_UNLABELLED + TEST:
        raise DataError(
            f"{folder} holds {len(files)} images; the task needs {LABELLED + MIN_UNLABELLED + TEST}",
            mend="set CMC_TEST_DATA to the test data, which has msd_hippocampus in it",
        )
    return tuple(
        _patient(file, folder / "labels" / file.name, number=number, misaligned=misaligned)
        for number, file in enumerate(files)
    )


def split(patients: Sequence[Patient], *, seed: int) -> Split:
    """24 fixed test patients; of the other 25, `seed` chooses the three that are labelled."""
    order = random_generator(2026, step=0, sample=0, purpose="test_patients").permutation(len(patients))
    test, pool = order[:TEST], order[TEST:]
    pool = random_generator(seed, step=0, sample=0, purpose="labelled_patients").permutation(pool)
    return Split(
        labelled=tuple(patients[index] for index in pool[:LABELLED]),
        unlabelled=tuple(patients[index] for index in pool[LABELLED:]),
        test=tuple(patients[index] for index in test),
    )


def _patient(image_file: Path, label_file: Path, *, number: int, misaligned: bool) -> Patient:
    image, label = read_nifti(image_file), read_nifti(label_file, label=True)
    values = image.data.astype(np.float32)
    contrast = {"a": _standardised(values)}
    contrast["b"] = _derived(contrast["a"], number=number)
    window = _window_affine(image)
    truth = label.data.astype(np.int64)
    images, labels, to_window, body = {}, {}, {}, {}
    for name in MODALITIES:
        moved = _misalignment(image, number=number) if misaligned and name == "b" else np.eye(4)
        affine = moved @ image.affine_mm
        images[name] = torch.from_numpy(_sample(contrast[name], affine, window))
        onehot = [_sample((truth == k).astype(np.float32), affine, window) for k in range(1, CLASSES)]
        rest = 1.0 - np.sum(onehot, axis=0)
        labels[name] = torch.from_numpy(np.argmax([rest, *onehot], axis=0).astype(np.int64))
        to_window[name] = np.linalg.inv(window) @ affine
        box = np.diag([1.0 / size for size in image.size_vox])
        body[name] = torch.from_numpy((box @ np.linalg.inv(to_window[name])[:3]).astype(np.float32))
    return Patient(image_file.name.split(".")[0], images, labels, dict.fromkeys(MODALITIES, truth), to_window, body)


def _standardised(values: FloatArray) -> FloatArray:
    """Clipped at the 0.5 and 99.5 percentiles, mean 0, deviation 1: the files' units differ by a factor of 10 000."""
    clipped = np.clip(values, *np.percentile(values, (0.5, 99.5)))
    return ((clipped - clipped.mean()) / clipped.std()).astype(np.float32)


def _derived(values: FloatArray, *, number: int) -> FloatArray:
    """Modality b from standardised a: remapped, blurred, with a bias field and noise; fixed by patient."""
    draw = random_generator(7, step=0, sample=number, purpose="derived_contrast")
    remapped = ndimage.gaussian_filter(np.abs(values - REMAP_CENTRE), BLUR_VOX)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in values.shape), indexing="ij")
    slopes = draw.uniform(-BIAS, BIAS, size=3)
    bias = np.exp(sum(slope * axis for slope, axis in zip(slopes, axes, strict=True)))
    noise = draw.standard_normal(values.shape) * NOISE * remapped.std()
    return _standardised((remapped * bias + noise).astype(np.float32))


REMAP_CENTRE = 0.1
BLUR_VOX = 0.8
BIAS = 0.4
NOISE = 0.5


def _misalignment(image: Volume, *, number: int) -> Affine:
    """A rigid motion about the volume's centre, in mm: 3 to 6 mm and 5 to 10 degrees, directions at random."""
    draw = random_generator(11, step=0, sample=number, purpose="misalignment")
    direction, axis = draw.standard_normal((2, 3))
    shift = direction / np.linalg.norm(direction) * draw.uniform(3.0, 6.0)
    x, y, z = axis / np.linalg.norm(axis)
    angle = np.deg2rad(draw.uniform(5.0, 10.0))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    motion = np.eye(4)
    motion[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    centre = _centre_mm(image)
    motion[:3, 3] = centre + shift - motion[:3, :3] @ centre
    return motion


def _window_affine(image: Volume) -> Affine:
    """The window's voxels → mm: the volume's centre in its middle, along the volume's own axes."""
    affine = np.eye(4)
    affine[:3, :3] = image.affine_mm[:3, :3] / np.asarray(image.spacing_mm) * np.asarray(SPACING_MM)
    affine[:3, 3] = _centre_mm(image) - affine[:3, :3] @ np.full(3, (GRID - 1) / 2)
    return affine


def _centre_mm(image: Volume) -> npt.NDArray[np.float64]:
    middle = (np.asarray(image.size_vox) - 1) / 2
    return image.affine_mm[:3, :3] @ middle + image.affine_mm[:3, 3]


def _sample(values: FloatArray, affine: Affine, window: Affine) -> FloatArray:
    size = (GRID, GRID, GRID)
    return np.ascontiguousarray(sample_window(Volume(values, affine), affine_mm=window, size_vox=size, background=0.0))
