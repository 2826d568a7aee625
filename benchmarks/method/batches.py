"""Batches of the task: spatial changes drawn once per pair, intensity changes per modality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.method.task import GRID, MODALITIES, Patient
from cmc_sdk.training.data.batch import Batch
from cmc_sdk.training.data.randomness import random_generator

ROTATION_DEG = 10.0
SCALE = 0.1
SHIFT_VOX = 2.0
CONTRAST = 0.15
BRIGHTNESS = 0.15
NOISE = 0.05


def draw_batch(patients: Sequence[Patient], *, size: int, seed: int, step: int, purpose: str) -> Batch:
    """`size` patients of `patients` at random, augmented; a pure function of its arguments.

    Without labels where `purpose` is "unlabelled".
    """
    with_labels = purpose != "unlabelled"
    chooser = random_generator(seed, step=step, sample=0, purpose=f"{purpose}/patients")
    chosen = chooser.permutation(len(patients))[:size]
    images: dict[str, list[Tensor]] = {name: [] for name in MODALITIES}
    labels: dict[str, list[Tensor]] = {name: [] for name in MODALITIES}
    body: dict[str, list[Tensor]] = {name: [] for name in MODALITIES}
    for sample, index in enumerate(chosen):
        patient = patients[index]
        motion = _motion(random_generator(seed, step=step, sample=sample, purpose=f"{purpose}/spatial"))
        for name in MODALITIES:
            draw = random_generator(seed, step=step, sample=sample, purpose=f"{purpose}/intensity/{name}")
            images[name].append(_intensity(_moved(patient.images[name], motion, mode="bilinear"), draw))
            body[name].append(patient.body[name] @ motion)
            if with_labels:
                labels[name].append(_moved(patient.labels[name].float(), motion, mode="nearest").long())
    return Batch(
        images={name: torch.stack(items)[:, None] for name, items in images.items()},
        labels={name: torch.stack(items) for name, items in labels.items()} if with_labels else {},
        presence=torch.ones(len(chosen), len(MODALITIES), dtype=torch.bool),
        body={name: torch.stack(items) for name, items in body.items()},
        cases=tuple(patients[index].name for index in chosen),
    )


def _motion(draw: np.random.Generator) -> Tensor:
    """(4, 4) f32: voxel of the augmented window → voxel of the patient's window."""
    angles = np.deg2rad(draw.uniform(-ROTATION_DEG, ROTATION_DEG, size=3))
    matrix = np.diag(draw.uniform(1 - SCALE, 1 + SCALE, size=3))
    for axis, angle in enumerate(angles):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    middle = np.full(3, (GRID - 1) / 2)
    motion = np.eye(4)
    motion[:3, :3] = matrix
    motion[:3, 3] = middle + draw.uniform(-SHIFT_VOX, SHIFT_VOX, size=3) - matrix @ middle
    return torch.from_numpy(motion.astype(np.float32))


def _moved(window: Tensor, motion: Tensor, *, mode: str) -> Tensor:
    """`window` (X, Y, Z) read at the places that `motion` says; 0 outside."""
    index = torch.arange(GRID, dtype=torch.float32)
    voxels = torch.stack(torch.meshgrid(index, index, index, indexing="ij"), dim=-1)
    return read_at(window[None], voxels @ motion[:3, :3].T + motion[:3, 3], mode=mode)[0]


def read_at(maps: Tensor, voxels: Tensor, *, mode: str = "bilinear") -> Tensor:
    """Read `maps` (C, X, Y, Z) at `voxels` (X', Y', Z', 3); 0 outside. Returns (C, X', Y', Z')."""
    scale = torch.tensor([2.0 / (size - 1) for size in maps.shape[1:]])
    grid = (voxels * scale - 1.0).flip(-1)  # grid_sample wants (z, y, x) order for (X, Y, Z) maps
    return functional.grid_sample(maps[None], grid[None], mode=mode, align_corners=True)[0]


def _intensity(window: Tensor, draw: np.random.Generator) -> Tensor:
    contrast, brightness = draw.uniform(-1.0, 1.0, size=2)
    noise = torch.from_numpy(draw.standard_normal(tuple(window.shape), dtype="float32"))
    return window * (1.0 + CONTRAST * float(contrast)) + BRIGHTNESS * float(brightness) + NOISE * noise
