"""Child process: blended logits on the model grid → labels on the scan's grid, by one of four ways.

The logits are smooth and undecided (about two units between the best classes), so that nothing can be left out. The
field is made before the clock starts; the time is from the field to the label array.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable

import click
import numpy as np
import numpy.typing as npt

CLASSES = 14
SPACING_MM = (0.8, 0.8, 1.0)
MODEL_MM = (1.5, 1.5, 2.0)
ACROSS = 512
SLAB = 20

Field = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]


def make_field(size: tuple[int, int, int]) -> Field:
    """(K, X, Y, Z) smooth noise of standard deviation 2."""
    generator = np.random.Generator(np.random.Philox(0))
    field = np.empty((CLASSES, *size), np.float32)
    for values in field:
        part = generator.standard_normal([max(2, count // 12) for count in size], dtype=np.float32) * 4.0
        for axis, count in enumerate(size):
            position = np.linspace(0.0, part.shape[axis] - 1.0, count)
            lower = np.minimum(position.astype(int), part.shape[axis] - 2)
            share = (position - lower).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
            part = np.take(part, lower, axis=axis) * (1 - share) + np.take(part, lower + 1, axis=axis) * share
        values[:] = part
    return field


def native(field: Field, size: tuple[int, int, int], threads: int) -> tuple[Labels, float]:
    """This project: windows are added and slices labelled as they close; the time is that of the labelling alone."""
    from cmc_sdk.runtime.core import Accumulator, Threads, longest_axis, model_grid, window_starts

    affine = np.diag([*SPACING_MM, 1.0])
    grid = model_grid(affine, size, spacing_mm=MODEL_MM)
    window = tuple(min(128, count) for count in grid.size_vox)
    starts = window_starts(grid.size_vox, window_vox=window, overlap=0.5)
    accumulator = Accumulator(
        grid,
        target_affine_mm=affine,
        target_size_vox=size,
        num_classes=CLASSES,
        window_vox=window,
        starts=starts,
        threads=Threads(threads),
    )
    axis = longest_axis(grid.size_vox)
    for start in sorted(starts, key=lambda item: (item[axis], item)):
        x, y, z = (slice(low, low + side) for low, side in zip(start, window, strict=True))
        accumulator.add(np.ascontiguousarray(field[:, x, y, z]), start=start)
    labels = accumulator.finish()[0]
    return labels, accumulator.finalise_seconds


def by_scipy(field: Field, size: tuple[int, int, int], threads: int) -> tuple[Labels, float]:
    """Linear zoom class by class in FP32, with a running argmax: the leanest way with scipy; it has one thread."""
    from scipy import ndimage

    begin = time.perf_counter()
    factors = [after / before for after, before in zip(size, field.shape[1:], strict=True)]
    best = np.full(size, -np.inf, np.float32)
    labels = np.zeros(size, np.uint8)
    for index, values in enumerate(field):
        found = ndimage.zoom(values, factors, order=1, mode="nearest", grid_mode=True)
        ahead = found > best
        labels[ahead] = index
        np.maximum(best, found, out=best)
    return labels, time.perf_counter() - begin


def as_nnunet(field: Field, size: tuple[int, int, int], threads: int) -> tuple[Labels, float]:
    """What nnU-Net's default does: every class resized in FP64 into one array of all classes, then argmax."""
    from scipy import ndimage

    begin = time.perf_counter()
    factors = [after / before for after, before in zip(size, field.shape[1:], strict=True)]
    every = np.empty((CLASSES, *size), np.float32)
    for index, values in enumerate(field):
        every[index] = ndimage.zoom(values.astype(np.float64), factors, order=1, mode="nearest", grid_mode=True)
    labels = every.argmax(axis=0).astype(np.uint8)
    return labels, time.perf_counter() - begin


def by_torch(field: Field, size: tuple[int, int, int], threads: int) -> tuple[Labels, float]:
    """`interpolate` on slabs of 20 slices, channels last, and argmax: the leanest way with torch."""
    import torch

    torch.set_num_threads(threads)
    begin = time.perf_counter()
    labels = np.empty(size, np.uint8)
    scale = field.shape[3] / size[2]
    with torch.inference_mode():
        whole = torch.from_numpy(field)[None].to(memory_format=torch.channels_last_3d)
        for first in range(0, size[2], SLAB):
            count = min(SLAB, size[2] - first)
            # Positions of the slab's slices in the field, and the slices around them.
            position = (np.arange(first, first + count) + 0.5) * scale - 0.5
            low = max(0, int(np.floor(position[0])))
            high = min(field.shape[3], int(np.floor(position[-1])) + 2)
            part = torch.nn.functional.interpolate(
                whole[..., low:high], size=(size[0], size[1], high - low), mode="trilinear", align_corners=False
            )
            lower = np.clip(np.floor(position).astype(int), low, high - 1) - low
            upper = np.minimum(lower + 1, high - low - 1)
            share = torch.from_numpy(np.clip(position - low - lower, 0, 1).astype(np.float32))
            found = torch.lerp(part[..., torch.from_numpy(lower)], part[..., torch.from_numpy(upper)], share)
            labels[:, :, first : first + count] = found.argmax(dim=1)[0].to(torch.uint8).numpy()
    return labels, time.perf_counter() - begin


WAYS: dict[str, Callable[[Field, tuple[int, int, int], int], tuple[Labels, float]]] = {
    "cmc": native,
    "scipy": by_scipy,
    "nnunet": as_nnunet,
    "torch": by_torch,
}


@click.command()
@click.argument("way", type=click.Choice(list(WAYS)))
@click.option("--slices", default=400)
@click.option("--threads", default=2)
@click.option("--labels", type=click.Path(), help="Keep the labels here, to compare ways.")
def main(way: str, slices: int, threads: int, labels: str | None) -> None:
    """Print seconds and bytes as JSON."""
    size = (ACROSS, ACROSS, slices)
    model = tuple(
        int(np.ceil(count * step / wide - 1e-4)) for count, step, wide in zip(size, SPACING_MM, MODEL_MM, strict=True)
    )
    field = make_field((model[0], model[1], model[2]))
    found, seconds = WAYS[way](field, size, threads)
    if labels is not None:
        np.save(labels, found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "ns_per_voxel": seconds / found.size * 1e9, "peak": peak}))


if __name__ == "__main__":
    main()
