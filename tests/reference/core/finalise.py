"""From blended logits on the model grid to labels on the target grid, slab by slab."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tests.reference.core.axes import AxisKernel, apply_kernel, tent_kernel
from tests.reference.core.geometry import Affine, AxisMap, Size, align_axes

__all__ = ["Labelling", "labelling"]

CELLS = 1 << 20
"""Logits that are held at once while labelling an aligned grid: 4 MB, about what stays in a processor's cache."""
CHUNK = 16
"""Target voxels across that are labelled at once."""
POINTS = 1 << 18
"""Voxels of an oblique grid that are labelled at once."""


class Labelling(Protocol):
    """Labels of a target grid that fill up as slices of the model grid close."""

    labels: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]
    counts: npt.NDArray[Any]
    confidence_sums: npt.NDArray[Any]

    def write(self, ring: npt.NDArray[np.float32], *, base: int, until: int, last: bool) -> None:
        """Label every target voxel whose neighbours all lie below slice `until` and that has no label yet.

        Args:
            ring: (K, X, Y, Z) logits; its first slice along the ring's axis is model slice `base`.
            base: See `ring`.
            until: First slice that may still change.
            last: No slice is open any more: label all that is left.
        """


def labelling(matrix: Affine, *, model_size_vox: Size, target_size_vox: Size, num_classes: int, axis: int) -> Labelling:
    """The right `Labelling` for a target grid.

    Args:
        matrix: (4, 4), voxel index of the target grid → position in the model grid.
        model_size_vox: Size of the model grid.
        target_size_vox: Size of the grid to label.
        num_classes: K.
        axis: The model axis along which slices close.
    """
    axes = align_axes(matrix, size_vox=target_size_vox)
    if axes is None:
        return _Oblique(matrix, model_size_vox, target_size_vox, num_classes, axis)
    return _Aligned(axes, model_size_vox, target_size_vox, num_classes, axis)


class _Base:
    def __init__(self, target_size_vox: Size, num_classes: int) -> None:
        self.labels = np.zeros(target_size_vox, np.uint8)
        self.confidence = np.zeros(target_size_vox, np.uint8)
        self.counts = np.zeros(num_classes, np.int64)
        self.confidence_sums = np.zeros(num_classes, np.float64)

    def _tally(self, labels: npt.NDArray[np.uint8], confidence: npt.NDArray[np.uint8]) -> None:
        # Class by class on the joint histogram: integers, so that the sums do not depend on the order of the slabs.
        joint = labels.astype(np.int32).ravel()
        joint *= 256
        joint += confidence.ravel()
        histogram = np.bincount(joint, minlength=len(self.counts) * 256).reshape(-1, 256)
        self.counts += histogram.sum(axis=1)
        self.confidence_sums += (histogram @ np.arange(256)) / 255.0


class _Aligned(_Base):
    """A target grid whose axes run along those of the model grid: three narrow products."""

    def __init__(self, axes: AxisMap, model_size: Size, target_size: Size, num_classes: int, axis: int) -> None:
        super().__init__(target_size, num_classes)
        order = [axes.target_axis.index(model_axis) for model_axis in range(3)]
        flips = tuple(slice(None, None, -1 if axes.scale[a] < 0 else 1) for a in order)
        # Views of the results in the model grid's axis order, in which positions increase.
        self._labels = self.labels.transpose(order)[flips]
        self._confidence = self.confidence.transpose(order)[flips]
        self._positions = []
        for model_axis, target_axis in enumerate(order):
            positions = axes.positions(target_axis, target_size[target_axis])
            self._positions.append(np.sort(np.clip(positions, 0, model_size[model_axis] - 1)))
        self._axis = axis
        self._done = 0
        # Of the two other axes, the one that grows least goes first.
        rest = [a for a in range(3) if a != axis]
        self._first, self._second = sorted(rest, key=lambda a: len(self._positions[a]) / model_size[a])
        across = self._positions[self._first]
        self._chunks = [
            (start, tent_kernel(across[start : start + CHUNK], half_width=1.0, size=model_size[self._first]))
            for start in range(0, len(across), CHUNK)
        ]
        self._last = tent_kernel(self._positions[self._second], half_width=1.0, size=model_size[self._second])

    def write(self, ring: npt.NDArray[np.float32], *, base: int, until: int, last: bool) -> None:
        positions = self._positions[self._axis]
        ready = len(positions) if last else int(np.searchsorted(positions, until - 1, side="right"))
        step = max(1, CELLS // (len(ring) * CHUNK * self._last.size_out))
        for start in range(self._done, ready, step):
            stop = min(start + step, ready)
            along = tent_kernel(positions[start:stop] - base, half_width=1.0, size=ring.shape[1 + self._axis])
            for offset, across in self._chunks:
                self._write_block(ring, (start, stop), along, offset, across)
        self._done = max(self._done, ready)

    def _write_block(
        self, ring: npt.NDArray[np.float32], rows: tuple[int, int], along: AxisKernel, offset: int, across: AxisKernel
    ) -> None:
        part = [slice(None)] * 4
        part[1 + self._axis] = slice(*along.source)
        part[1 + self._first] = slice(*across.source)
        part[1 + self._second] = slice(*self._last.source)
        logits = np.ascontiguousarray(ring[tuple(part)])
        logits = apply_kernel(logits, along, axis=self._axis - 3, origin=along.source[0])
        logits = apply_kernel(logits, across, axis=self._first - 3, origin=across.source[0])
        logits = apply_kernel(logits, self._last, axis=self._second - 3, origin=self._last.source[0])
        labels, confidence = label_logits(logits)
        self._tally(labels, confidence)
        place = [slice(None)] * 3
        place[self._axis] = slice(*rows)
        place[self._first] = slice(offset, offset + across.size_out)
        self._labels[tuple(place)] = labels
        self._confidence[tuple(place)] = confidence


class _Oblique(_Base):
    """A target grid in general position: eight neighbours for every voxel, slab by slab along its dominant axis."""

    def __init__(self, matrix: Affine, model_size: Size, target_size: Size, num_classes: int, axis: int) -> None:
        super().__init__(target_size, num_classes)
        self._matrix, self._model_size, self._axis = matrix, model_size, axis
        # Slabs run along the target axis that moves fastest through the ring's axis.
        dominant = int(np.abs(matrix[axis, :3]).argmax())
        self._order = [dominant, *(a for a in range(3) if a != dominant)]
        self._labels = self.labels.transpose(self._order)
        self._confidence = self.confidence.transpose(self._order)
        self._written = -1  # last slice of the model grid up to which every target voxel has its label

    def write(self, ring: npt.NDArray[np.float32], *, base: int, until: int, last: bool) -> None:
        low, high = self._written, until - 1
        count = self._labels.shape[0]
        plane = int(np.prod(self._labels.shape[1:]))
        step = max(1, POINTS // plane)
        for start in range(0, count, step):
            self._write_slab(ring, start, min(start + step, count), base=base, low=low, high=high, last=last)
        self._written = high

    def _write_slab(
        self,
        ring: npt.NDArray[np.float32],
        start: int,
        stop: int,
        *,
        base: int,
        low: int,
        high: int,
        last: bool,
    ) -> None:
        shape = (stop - start, *self._labels.shape[1:])
        linear = self._matrix[:3, self._order]
        offset = self._matrix[:3, 3] + linear[:, 0] * start
        along = self._axis_positions(linear, offset, shape, self._axis)
        # A voxel at exactly `high` is labelled now; the next call begins above it.
        ready = (along <= high) | last
        if low >= 0:
            ready &= along > low
        if not ready.any():
            return
        chosen = np.nonzero(ready)
        positions = [
            along[ready] if axis == self._axis else self._axis_positions(linear, offset, shape, axis)[ready]
            for axis in range(3)
        ]
        positions[self._axis] = positions[self._axis] - base
        labels, confidence = label_logits(_trilinear(ring, positions))
        self._tally(labels, confidence)
        place = (chosen[0] + start, chosen[1], chosen[2])
        self._labels[place] = labels
        self._confidence[place] = confidence

    def _axis_positions(
        self, linear: npt.NDArray[np.float64], offset: npt.NDArray[np.float64], shape: tuple[int, ...], axis: int
    ) -> npt.NDArray[np.float64]:
        x, y, z = (np.arange(size) * step for size, step in zip(shape, linear[axis], strict=True))
        positions = (x[:, None] + y)[:, :, None] + (z + offset[axis])
        clipped: npt.NDArray[np.float64] = np.clip(np.round(positions, 6), 0, self._model_size[axis] - 1)
        return clipped


def label_logits(
    logits: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Argmax (the lowest index on a tie) and its softmax in steps of 1/255, over the first axis of (K, ...)."""
    best = logits[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    for index in range(1, len(logits)):
        # Classes come in increasing order, so the largest index that ever led is the one that leads now.
        leads = logits[index] > best
        np.maximum(labels, leads.view(np.uint8) * np.uint8(index), out=labels)
        np.maximum(best, logits[index], out=best)
    total = np.zeros_like(best)
    term = np.empty_like(best)
    for values in logits:
        np.subtract(values, best, out=term)
        np.exp(term, out=term)
        total += term
    np.divide(np.float32(255.0), total, out=total)
    total += np.float32(0.5)
    return labels, total.astype(np.uint8)


def _trilinear(ring: npt.NDArray[np.float32], positions: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float32]:
    """(K, n) logits at positions that lie within the ring."""
    flat = ring.reshape(len(ring), -1)
    taps = []
    for axis, position in enumerate(positions):
        size = ring.shape[1 + axis]
        lower = np.minimum(position.astype(np.int64), max(size - 2, 0))
        fraction = (position - lower).astype(np.float32)
        stride = int(np.prod(ring.shape[2 + axis :]))
        upper = np.minimum(lower + 1, size - 1)
        taps.append(((lower * stride, 1 - fraction), (upper * stride, fraction)))
    out = np.zeros((len(ring), len(positions[0])), np.float32)
    for index_x, weight_x in taps[0]:
        for index_y, weight_y in taps[1]:
            for index_z, weight_z in taps[2]:
                weight = weight_x * weight_y * weight_z
                index = index_x + index_y + index_z
                for target, values in zip(out, flat, strict=True):
                    found = values.take(index)
                    found *= weight
                    target += found
    return out
