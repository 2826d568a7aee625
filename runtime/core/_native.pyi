from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Triple = tuple[int, int, int]
Affine = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

class Threads:
    """A fixed set of threads, the caller's among them; not to be used from two threads at once."""

    def __init__(self, count: int) -> None: ...
    @property
    def count(self) -> int: ...

class Statistics:
    background: float
    has_border: bool
    mean: float
    std: float
    minimum: float
    maximum: float
    finite: bool
    foreground_fraction: float
    foreground_mean: float
    body_box: tuple[Triple, Triple]

class WindowSampler:
    def __init__(
        self,
        stored: Array,
        affine_mm: Affine,
        slope: float,
        intercept: float,
        grid_affine_mm: Affine,
        grid_size_vox: Triple,
        window_vox: Triple,
        starts: Sequence[Triple],
        clip: tuple[float, float] | None,
        scale: str,
        background: float,
        mean: float,
        std: float,
    ) -> None: ...
    def window(self, start: Triple, out: npt.NDArray[np.float32], threads: Threads) -> float | None: ...
    @staticmethod
    def core_bytes(
        stored: Array,
        affine_mm: Affine,
        grid_affine_mm: Affine,
        grid_size_vox: Triple,
        window_vox: Triple,
        starts: Sequence[Triple],
        threads: int,
    ) -> int: ...

class Accumulator:
    def __init__(
        self,
        grid_affine_mm: Affine,
        grid_size_vox: Triple,
        labels: npt.NDArray[np.uint8],
        confidence: npt.NDArray[np.uint8],
        target_affine_mm: Affine,
        num_classes: int,
        window_vox: Triple,
        starts: Sequence[Triple],
    ) -> None: ...
    def add(self, logits: npt.NDArray[np.float32], start: Triple, threads: Threads) -> None: ...
    def finish(self, threads: Threads) -> None: ...
    @property
    def counts(self) -> list[int]: ...
    @property
    def confidence_sums(self) -> list[float]: ...
    @property
    def label_seconds(self) -> float: ...
    @staticmethod
    def core_bytes(
        grid_affine_mm: Affine,
        grid_size_vox: Triple,
        target_size_vox: Triple,
        target_strides: Triple,
        target_affine_mm: Affine,
        num_classes: int,
        window_vox: Triple,
        starts: Sequence[Triple],
        threads: int,
    ) -> int: ...

def model_grid(
    affine_mm: Affine, size_vox: Triple, spacing_mm: tuple[float, float, float]
) -> tuple[Affine, Triple]: ...
def extend_grid(
    grid_affine_mm: Affine, grid_size_vox: Triple, affine_mm: Affine, size_vox: Triple
) -> tuple[Affine, Triple]: ...
def boxes_overlap(affine_mm: Affine, size_vox: Triple, other_affine_mm: Affine, other_size_vox: Triple) -> bool: ...
def window_starts(size_vox: Triple, window_vox: Triple, overlap: float) -> list[Sequence[int]]: ...
def gaussian_axes(window_vox: Triple, sigma_scale: float) -> Sequence[list[float]]: ...
def longest_axis(size_vox: Triple) -> int: ...
def ring_size(size_vox: Triple, window_vox: Triple) -> Sequence[int]: ...
def constant_value(window: npt.NDArray[np.float32]) -> float | None: ...
def statistics(
    stored: Array,
    affine_mm: Affine,
    slope: float,
    intercept: float,
    clip: tuple[float, float] | None,
    scale: str,
    threads: Threads,
) -> Statistics: ...
def normalise(
    values: npt.NDArray[np.float32], clip: tuple[float, float] | None, scale: str, mean: float, std: float
) -> None: ...
def sample_linear(
    stored: Array,
    affine_mm: Affine,
    slope: float,
    intercept: float,
    window_affine_mm: Affine,
    background: float,
    out: npt.NDArray[np.float32],
    threads: Threads,
) -> None: ...
def sample_nearest(
    stored: Array, affine_mm: Affine, window_affine_mm: Affine, background: Array, out: Array, threads: Threads
) -> None: ...
def count_components(labels: npt.NDArray[np.uint8], num_classes: int) -> list[int]: ...
def squared_surface_distances(
    labels: npt.NDArray[np.uint8], label: int, spacing: tuple[float, float, float], points: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]: ...
