"""Scans that no patient has and that scanners and files still give: what a precision must survive."""

from __future__ import annotations

import numpy as np

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.gate.case import ParityCase
from cmc_sdk.runtime.scans.synthetic import synthetic_case, synthetic_size

__all__ = ["stress_cases"]

_BLOCKS = {"3071": 3071.0, "-1024": -1024.0, "1.7e6": 1.7e6}
"""The ends of a CT's twelve bits (metal, and air outside the field of view), and raw units of a PET or MR."""


def stress_cases(spec: ModelSpec) -> list[ParityCase]:
    """One scan of one window per stress, with every modality.

    - `3071`, `-1024`, `1.7e6`: a synthetic body whose middle third, along each axis, has that value;
    - `constant`: one value everywhere, so that no intensity rule finds a spread to divide by;
    - `bright voxel`: one voxel of 3071 in a constant scan, so that all the rest lies 3071 below the mean;
    - `bright voxel in a body`: one voxel of 1.7e6, the farthest from the mean that one voxel can lie.
    """
    size = synthetic_size(spec.grid, windows=1.0)
    body = synthetic_case(spec, seed=0, size_vox=size)
    middle = tuple(slice(count // 3, max(count // 3 + 1, 2 * count // 3)) for count in size)
    stresses = {}
    for name, value in _BLOCKS.items():
        stresses[name] = {key: _with(volume, middle, value) for key, volume in body.items()}
    everywhere = (slice(None),) * 3
    constant = {key: _with(volume, everywhere, 0.0) for key, volume in body.items()}
    centre = tuple(slice(count // 2, count // 2 + 1) for count in size)
    stresses["constant"] = constant
    stresses["bright voxel"] = {key: _with(volume, centre, 3071.0) for key, volume in constant.items()}
    stresses["bright voxel in a body"] = {key: _with(volume, centre, 1.7e6) for key, volume in body.items()}
    return [
        ParityCase(name=f"stress {name}", images=images, pairing="registered", kind="stress")
        for name, images in stresses.items()
    ]


def _with(volume: Volume, where: tuple[slice, ...], value: float) -> Volume:
    stored = volume.stored.astype(np.float32)
    stored[where] = value
    return Volume(stored, volume.affine_mm, name=volume.name)
