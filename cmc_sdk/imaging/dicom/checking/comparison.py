"""An object that was read back, laid over the labels that it should hold."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.dicom.checking.index_maps import lps_to_index
from cmc_sdk.imaging.dicom.checking.raster import fill_even_odd, near_boundary, pieces_and_holes
from cmc_sdk.imaging.dicom.checking.read_back import Contour, Plane, Reference, SegmentationObject, Structure
from cmc_sdk.imaging.volume import Volume

__all__ = ["ContourComparison", "Difference", "ReadBackComparison", "SegmentationComparison", "placed_on"]

# A plane or a contour counts as lying on the grid within this share of a voxel.
ON_GRID_VOX = 0.05

Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_IDENTITY = np.eye(4)


@dataclass(frozen=True)
class Difference:
    """Voxels that differ, and those among them that no rounding at a boundary explains (for SEG all of them)."""

    differing: int
    unexplained: int


class ReadBackComparison(ABC):
    """Labels and an object: how far they differ if the object is taken to be displaced by a map of indices."""

    def __init__(self, labels: Volume) -> None:
        self.labels = labels
        self.to_index = lps_to_index(labels)
        stored, size = labels.stored, labels.size_vox
        self.num_values = max(int(stored.max()) + 1, 2)
        self.counts = np.stack(
            [np.bincount(stored[:, :, k].ravel(), minlength=self.num_values) for k in range(size[2])]
        )

    @abstractmethod
    def difference(self, displaced_by: Matrix = _IDENTITY) -> Difference | None:
        """Against the labels, once `displaced_by` is undone; None where that leaves the object off the grid."""

    @abstractmethod
    def references(self) -> list[tuple[int, int, tuple[Reference, ...]]]:
        """Of each frame or contour: its number, the slice that it lies in, the source frames that it refers to."""

    @abstractmethod
    def digests(self) -> list[tuple[int, int, bytes]]:
        """Of each area: segment, slice, and a digest of its pixels in the plane."""

    def slices_are_shuffled(self) -> bool:
        """Whether the object holds the very areas of the labels, in other slices."""
        held = Counter((segment, digest) for segment, _, digest in self.digests())
        expected = Counter(
            (value, _digest(self.expected(value, k)))
            for k, counts in enumerate(self.counts)
            for value in np.flatnonzero(counts).tolist()
            if value
        )
        return held == expected

    def expected(self, value: int, k: int) -> Mask:
        """Where slice k of the labels is `value`, indexed (column, row)."""
        return np.asarray(self.labels.stored[:, :, k] == value)

    def missing(self, covered: set[tuple[int, int]]) -> int:
        """Voxels of classes in slices that are not `covered`, each a (value, slice)."""
        total = int(self.counts[:, 1:].sum())
        return total - sum(
            int(self.counts[k, value]) for value, k in covered if 0 <= k < len(self.counts) and value < self.num_values
        )


class SegmentationComparison(ReadBackComparison):
    """A SEG over its labels: every voxel counts."""

    def __init__(self, labels: Volume, seen: SegmentationObject) -> None:
        super().__init__(labels)
        self.seen = seen

    def difference(self, displaced_by: Matrix = _IDENTITY) -> Difference | None:
        """Pixel by pixel, for each frame at its place; voxels without a frame count too."""
        back = np.asarray(np.linalg.inv(displaced_by), dtype=np.float64)
        covered: set[tuple[int, int]] = set()
        differing = 0
        for frame in self.seen.frames:
            placed = placed_on(frame.plane, self.to_index, back=back)
            turned = _turn(placed, self.labels.size_vox, self.seen)
            if turned is None:
                return None
            k, order, flipped, moved = turned
            pixels = self.seen.pixels(frame.number).transpose(order)
            pixels = pixels[tuple(slice(None, None, -1 if flip else 1) for flip in flipped)]
            if any(moved):
                whole = pixels
                pixels = _move(whole, moved)
                differing += int(np.count_nonzero(whole)) - int(np.count_nonzero(pixels))
            if not 0 <= k < self.labels.size_vox[2]:
                differing += int(np.count_nonzero(pixels))
                continue
            values = range(1, self.num_values) if frame.segment is None else (frame.segment,)
            if any((value, k) in covered for value in values):  # a second frame of one segment at one place
                differing += int(np.count_nonzero(pixels))
                continue
            covered.update((value, k) for value in values)
            expected = self.labels.stored[:, :, k] if frame.segment is None else self.expected(frame.segment, k)
            differing += int(np.count_nonzero(pixels != expected))
        differing += self.missing(covered)
        return Difference(differing, differing)

    def references(self) -> list[tuple[int, int, tuple[Reference, ...]]]:
        """Of each frame, from 1."""
        return [(frame.number + 1, self._slice(frame.plane), frame.references) for frame in self.seen.frames]

    def digests(self) -> list[tuple[int, int, bytes]]:
        """Of each segment in each frame."""
        found = []
        for frame in self.seen.frames:
            pixels = self.seen.pixels(frame.number).T
            for value in np.unique(pixels[pixels > 0]).tolist():
                segment = value if frame.segment is None else frame.segment
                found.append((segment, self._slice(frame.plane), _digest(np.asarray(pixels == value))))
        return found

    def _slice(self, plane: Plane) -> int:
        return round(float(placed_on(plane, self.to_index)[0][2]))


class ContourComparison(ReadBackComparison):
    """An RTSTRUCT over its labels: contours are filled again, and may differ within one pixel of a boundary."""

    def __init__(self, labels: Volume, seen: list[Structure]) -> None:
        super().__init__(labels)
        self.seen = seen

    def difference(self, displaced_by: Matrix = _IDENTITY) -> Difference | None:
        """Pixel by pixel, each structure filled slice by slice."""
        back = np.asarray(np.linalg.inv(displaced_by), dtype=np.float64)
        covered: set[tuple[int, int]] = set()
        differing = unexplained = 0
        for structure in self.seen:
            masks = self._fill(structure, back=back)
            if masks is None:
                return None
            for k, mask in masks.items():
                if not 0 <= k < self.labels.size_vox[2]:
                    differing += int(mask.sum())
                    unexplained += int(mask.sum())
                    continue
                covered.add((structure.number, k))
                expected = self.expected(structure.number, k)
                wrong = mask != expected
                if not wrong.any():
                    continue
                differing += int(wrong.sum())
                unexplained += int((wrong & ~near_boundary(expected)).sum())
                if pieces_and_holes(mask) != pieces_and_holes(expected):
                    unexplained += 1
        lost = self.missing(covered)
        return Difference(differing + lost, unexplained + lost)

    def references(self) -> list[tuple[int, int, tuple[Reference, ...]]]:
        """Of each contour, counted from 1 over all structures."""
        found: list[tuple[int, int, tuple[Reference, ...]]] = []
        for structure in self.seen:
            for contour in structure.contours:
                k = round(float(self._index(contour, _IDENTITY)[:, 2].mean()))
                found.append((len(found) + 1, k, () if contour.reference is None else (contour.reference,)))
        return found

    def digests(self) -> list[tuple[int, int, bytes]]:
        """Of each structure in each slice."""
        return [
            (structure.number, k, _digest(mask))
            for structure in self.seen
            for k, mask in (self._fill(structure, back=_IDENTITY) or {}).items()
        ]

    def _index(self, contour: Contour, back: Matrix) -> npt.NDArray[np.float64]:
        matrix = back @ self.to_index
        return np.asarray(contour.points_mm @ matrix[:3, :3].T + matrix[:3, 3], dtype=np.float64)

    def _fill(self, structure: Structure, *, back: Matrix) -> dict[int, Mask] | None:
        masks: dict[int, Mask] = {}
        for contour in structure.contours:
            points = self._index(contour, back)
            k = round(float(points[:, 2].mean()))
            if np.abs(points[:, 2] - k).max() > ON_GRID_VOX:
                return None
            if k not in masks:
                masks[k] = np.zeros(self.labels.size_vox[:2], dtype=np.bool_)
            fill_even_odd(points[:, :2], into=masks[k])
        return masks


def placed_on(
    plane: Plane, to_index: Matrix, *, back: Matrix = _IDENTITY
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A plane in voxel indices: its corner, and the steps from column to column and from row to row."""
    matrix = back @ to_index
    corner = matrix[:3, :3] @ plane.corner_mm + matrix[:3, 3]
    return corner, matrix[:3, :3] @ plane.across_mm, matrix[:3, :3] @ plane.down_mm


def _turn(
    placed: tuple[npt.NDArray[np.float64], ...], size_vox: tuple[int, int, int], seen: SegmentationObject
) -> tuple[int, tuple[int, int], tuple[bool, bool], tuple[int, int]] | None:
    """How the pixels (row, column) of a placed frame become an array (column, row) of a slice: the slice, the order of
    the axes, which of them to reverse, and by how many pixels to move. None where pixels do not fall on pixels."""
    corner, across, down = placed
    counts = (seen.columns, seen.rows)
    steps = np.stack([across * max(counts[0] - 1, 1), down * max(counts[1] - 1, 1)])
    axes = [int(np.abs(step).argmax()) for step in (across, down)]
    if sorted(axes) != [0, 1] or any(count != size_vox[axis] for axis, count in zip(axes, counts, strict=True)):
        return None
    whole, start, flipped = np.zeros((2, 3)), np.zeros(3), [False, False]
    for row, axis in enumerate(axes):
        whole[row, axis] = np.copysign(max(counts[row] - 1, 1), steps[row, axis])
        if whole[row, axis] < 0:
            flipped[axis], start[axis] = True, size_vox[axis] - 1
    moved = np.rint(corner - start)
    if max(np.abs(corner - start - moved).max(), np.abs(steps - whole).max()) > ON_GRID_VOX:
        return None
    order = (1, 0) if axes == [0, 1] else (0, 1)
    return int(moved[2]), order, (flipped[0], flipped[1]), (int(moved[0]), int(moved[1]))


def _move(pixels: npt.NDArray[np.generic], by: tuple[int, int]) -> npt.NDArray[np.generic]:
    """Pixels moved along both axes; what leaves is lost, and what enters is 0."""
    result = np.zeros_like(pixels)
    to = tuple(slice(max(step, 0), max(size + min(step, 0), 0)) for step, size in zip(by, pixels.shape, strict=True))
    of = tuple(slice(max(-step, 0), max(size - max(step, 0), 0)) for step, size in zip(by, pixels.shape, strict=True))
    result[to] = pixels[of]
    return result


def _digest(mask: Mask) -> bytes:
    return hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=16).digest()
