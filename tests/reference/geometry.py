"""Grids and NIfTI headers by the book: slow, plain, and written without a look at cmc_sdk.imaging."""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np


def voxel_to_world(affine, index):
    """RAS position of one voxel index, term by term."""
    return [sum(affine[row][column] * index[column] for column in range(3)) + affine[row][3] for row in range(3)]


def codes_by_walking(affine):
    """Axis codes: try every assignment of letters, keep the one whose axes' steps agree best with their letters."""
    directions = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    best, best_score = "", -math.inf
    steps = []
    for axis in range(3):
        index = [0, 0, 0]
        index[axis] = 1
        here, there = voxel_to_world(affine, [0, 0, 0]), voxel_to_world(affine, index)
        step = [b - a for a, b in zip(here, there, strict=True)]
        length = math.sqrt(sum(part * part for part in step))
        steps.append([part / length for part in step])
    for order in itertools.permutations(("RL", "AP", "SI")):
        for letters in itertools.product(*order):
            score = sum(
                sum(a * b for a, b in zip(steps[axis], directions[letter], strict=True))
                for axis, letter in enumerate(letters)
            )
            if score > best_score:
                best, best_score = "".join(letters), score
    return best


def box_by_corners(affine, size):
    """Lowest and highest RAS coordinates over the eight outer corners, one corner at a time."""
    low, high = [math.inf] * 3, [-math.inf] * 3
    for signs in itertools.product((0, 1), repeat=3):
        corner = [-0.5 if sign == 0 else size[axis] - 0.5 for axis, sign in enumerate(signs)]
        for row, value in enumerate(voxel_to_world(affine, corner)):
            low[row], high[row] = min(low[row], value), max(high[row], value)
    return low, high


@dataclass(frozen=True)
class Nifti1Fields:
    """Fields of a NIfTI-1 header, taken from its bytes at the offsets of the standard."""

    dim: tuple[int, ...]
    pixdim: tuple[float, ...]
    xyzt_units: int
    qform_code: int
    sform_code: int
    quatern: tuple[float, float, float]
    qoffset: tuple[float, float, float]
    srow: tuple[tuple[float, ...], ...]
    slope: float
    intercept: float
    geometry_bytes: bytes


def nifti1_fields(block: bytes) -> Nifti1Fields:
    """Read a little- or big-endian NIfTI-1 header with struct alone."""
    order = "<" if struct.unpack("<i", block[:4])[0] == 348 else ">"

    def take(form: str, at: int):
        return struct.unpack_from(order + form, block, at)

    return Nifti1Fields(
        dim=take("8h", 40),
        pixdim=take("8f", 76),
        xyzt_units=block[123],
        qform_code=take("h", 252)[0],
        sform_code=take("h", 254)[0],
        quatern=take("3f", 256),
        qoffset=take("3f", 268),
        srow=(take("4f", 280), take("4f", 296), take("4f", 312)),
        slope=take("f", 112)[0],
        intercept=take("f", 116)[0],
        geometry_bytes=block[76:108] + block[123:124] + block[252:328],
    )


def qform_matrix(fields: Nifti1Fields):
    """Method 2 of the NIfTI-1 standard, element by element."""
    b, c, d = fields.quatern
    square = 1.0 - (b * b + c * c + d * d)
    if square < 1e-7:  # a half turn: what is left of a is rounding of b, c, d, as the standard's own library has it
        length = math.sqrt(b * b + c * c + d * d)
        a, b, c, d = 0.0, b / length, c / length, d / length
    else:
        a = math.sqrt(square)
    rotation = [
        [a * a + b * b - c * c - d * d, 2 * b * c - 2 * a * d, 2 * b * d + 2 * a * c],
        [2 * b * c + 2 * a * d, a * a + c * c - b * b - d * d, 2 * c * d - 2 * a * b],
        [2 * b * d - 2 * a * c, 2 * c * d + 2 * a * b, a * a + d * d - c * c - b * b],
    ]
    qfac = -1.0 if fields.pixdim[0] < 0 else 1.0
    scale = [fields.pixdim[1], fields.pixdim[2], fields.pixdim[3] * qfac]
    matrix = [
        [rotation[row][column] * scale[column] for column in range(3)] + [fields.qoffset[row]] for row in range(3)
    ]
    return np.array([*matrix, [0.0, 0.0, 0.0, 1.0]])


def sform_matrix(fields: Nifti1Fields):
    """Method 3 of the NIfTI-1 standard."""
    return np.array([*fields.srow, (0.0, 0.0, 0.0, 1.0)], dtype=np.float64)


def header_block(path: Path) -> bytes:
    """The first 348 bytes of a .nii or .nii.gz file."""
    import gzip

    with open(path, "rb") as handle:
        zipped = handle.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if zipped else open(path, "rb") as handle:
        return handle.read(348)
