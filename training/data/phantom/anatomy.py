"""The phantom's anatomy: smooth bodies in patient space, drawn for each patient, that can be asked for any point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["ORGANS", "TISSUES", "Anatomy", "Tissue", "draw_anatomy"]

Points = npt.NDArray[np.float32]

ORGANS = ("liver", "spleen", "right kidney", "left kidney", "aorta")
"""The classes of the phantom, 1 … 5."""

Tissue = Literal[
    "air", "fat", "muscle", "bone", "bowel a", "bowel b", "bowel c", "stomach", "vena cava",
    "liver", "spleen", "right kidney", "left kidney", "aorta",
]  # fmt: skip
TISSUES: tuple[Tissue, ...] = (
    "air", "fat", "muscle", "bone", "bowel a", "bowel b", "bowel c", "stomach", "vena cava",
    "liver", "spleen", "right kidney", "left kidney", "aorta",
)  # fmt: skip


@dataclass(frozen=True)
class _Blob:
    """An ellipsoid: `centre` and `radii` in mm, `axes` (3, 3) with the ellipsoid's axes as columns."""

    tissue: Tissue
    centre: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Tube:
    """A vertical vessel of `radius` mm about (x, y), swaying by `sway` mm over a `period` in z."""

    tissue: Tissue
    x: float
    y: float
    radius: float
    sway: float
    phase: float
    period: float


@dataclass(frozen=True)
class _Wave:
    """One term of the smooth displacement that makes no patient's organs ellipsoids."""

    direction: npt.NDArray[np.float64]
    frequency: npt.NDArray[np.float64]
    phase: float


@dataclass(frozen=True)
class Anatomy:
    """One patient: which tissue is at a point. Later bodies lie over earlier ones.

    Args:
        body_mm: Half axes of the trunk's cross-section.
        bodies: Ellipsoids and vessels in painting order.
        waves: Smooth displacement.
    """

    body_mm: tuple[float, float]
    bodies: tuple[_Blob | _Tube, ...]
    waves: tuple[_Wave, ...]

    def tissue_at(self, points_mm: Points) -> npt.NDArray[np.uint8]:
        """Index into `TISSUES` at RAS points (3, n) in mm."""
        moved = self._displaced(points_mm)
        across, along = self.body_mm
        trunk = np.hypot(moved[0] / across, moved[1] / along)
        found = np.zeros(moved.shape[1], dtype=np.uint8)
        found[trunk < 1.0] = TISSUES.index("fat")
        found[(trunk < 0.93) & (trunk > 0.83)] = TISSUES.index("muscle")
        inside = np.flatnonzero(trunk < 0.93)
        near = np.ascontiguousarray(moved[:, inside])
        part = found[inside]
        for body in self.bodies:
            part[_holds(body, near)] = TISSUES.index(body.tissue)
        found[inside] = part
        return found

    def _displaced(self, points_mm: Points) -> Points:
        moved = points_mm.astype(np.float32, copy=True)
        for wave in self.waves:
            sway = np.sin(wave.frequency.astype(np.float32) @ points_mm + np.float32(wave.phase))
            for axis in range(3):
                moved[axis] += np.float32(wave.direction[axis]) * sway
        return moved


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw one patient: size of the trunk, place, size, tilt and shape of each organ, clutter between them.

    About one patient in twelve has no left kidney or no spleen, so that an absent organ occurs.
    """
    size = rng.uniform(0.9, 1.1)
    across, along = 145.0 * size * rng.uniform(0.94, 1.06), 105.0 * size * rng.uniform(0.92, 1.08)
    stretch = np.array([across / 145.0, along / 105.0, rng.uniform(0.92, 1.08)])
    place = _Placer(rng, stretch)
    bodies: list[_Blob | _Tube] = []
    for side in (-1, 1):  # muscles beside the spine
        bodies.append(place.blob("muscle", (side * 40, -72, 0), (26, 18, 260), move=4))
    bodies.append(place.blob("bone", (0, -60, 0), (19, 19, 260), move=3))
    bodies += _bowel(rng, place)
    bodies.append(place.blob("stomach", (-45, 40, 45), (34, 28, 36), move=10))
    bodies.append(place.blob("liver", (62, 12, 50), (52, 58, 56), move=8))
    bodies.append(place.blob("liver", (12, 42, 62), (46, 26, 28), move=8))
    absent = rng.random()
    bodies.append(place.blob("right kidney", (62, -48, -22), (23, 21, 43), move=8))
    left_kidney = place.blob("left kidney", (-60, -48, -8), (23, 21, 43), move=8)
    spleen = place.blob("spleen", (-94, -22, 48), (24, 36, 44), move=7)
    if absent >= 1 / 24:
        bodies.append(left_kidney)
    if not 1 / 24 <= absent < 1 / 12:
        bodies.append(spleen)
    bodies.append(place.tube("vena cava", (19, -30), 12.5))
    bodies.append(place.tube("aorta", (-14, -32), 12.5))
    return Anatomy(body_mm=(across, along), bodies=tuple(bodies), waves=_waves(rng))


class _Placer:
    """Draws a body round its textbook place, stretched with the patient's trunk."""

    def __init__(self, rng: np.random.Generator, stretch: npt.NDArray[np.float64]) -> None:
        self._rng, self._stretch = rng, stretch

    def blob(
        self, tissue: Tissue, centre: tuple[float, float, float], radii: tuple[float, float, float], *, move: float
    ) -> _Blob:
        """An ellipsoid whose centre moves by up to ±`move` mm, radii by ±12 %, axes by ±12°."""
        place = (np.asarray(centre) + self._rng.uniform(-move, move, size=3)) * self._stretch
        grown = np.asarray(radii) * self._stretch * self._rng.uniform(0.88, 1.12, size=3)
        return _Blob(tissue, place, grown, _tilt(self._rng.uniform(-12, 12, size=3)))

    def tube(self, tissue: Tissue, centre: tuple[float, float], radius: float) -> _Tube:
        """A vessel whose place moves by up to ±3 mm and whose radius changes by ±10 %."""
        x, y = (np.asarray(centre) + self._rng.uniform(-3, 3, size=2)) * self._stretch[:2]
        return _Tube(
            tissue, float(x), float(y), radius * self._rng.uniform(0.9, 1.1), self._rng.uniform(1, 5),
            self._rng.uniform(0, 2 * np.pi), self._rng.uniform(160, 260),
        )  # fmt: skip


def _bowel(rng: np.random.Generator, place: _Placer) -> list[_Blob | _Tube]:
    """Loops in front of and below the organs, of three contents that are as bright as organs are."""
    loops: list[_Blob | _Tube] = []
    contents: tuple[Tissue, ...] = ("bowel a", "bowel b", "bowel c")
    for index in range(14):
        centre = (rng.uniform(-80, 80), rng.uniform(-15, 60), rng.uniform(-130, -5))
        radii = (rng.uniform(12, 26), rng.uniform(12, 22), rng.uniform(12, 26))
        loops.append(place.blob(contents[index % 3], centre, radii, move=0))
    return loops


def _waves(rng: np.random.Generator) -> tuple[_Wave, ...]:
    waves = []
    for _ in range(6):
        direction = rng.normal(size=3)
        frequency = rng.normal(size=3)
        direction *= rng.uniform(1.0, 3.5) / np.linalg.norm(direction)
        frequency *= 2 * np.pi / rng.uniform(60, 140) / np.linalg.norm(frequency)
        waves.append(_Wave(direction, frequency, float(rng.uniform(0, 2 * np.pi))))
    return tuple(waves)


def _holds(body: _Blob | _Tube, points: Points) -> npt.NDArray[np.intp]:
    """Which of the points (3, n) lie in the body, as indices."""
    if isinstance(body, _Tube):
        bend = np.float32(body.sway) * np.sin(points[2] * np.float32(2 * np.pi / body.period) + np.float32(body.phase))
        return np.flatnonzero(
            np.hypot(points[0] - np.float32(body.x) - bend, points[1] - np.float32(body.y)) < body.radius
        )
    reach = np.float32(body.radii.max())
    centre = body.centre.astype(np.float32)
    box = np.abs(points[0] - centre[0]) < reach
    for axis in (1, 2):
        box &= np.abs(points[axis] - centre[axis]) < reach
    near = np.flatnonzero(box)
    local = (body.axes / body.radii).T.astype(np.float32) @ (points[:, near] - centre[:, None])
    inside: npt.NDArray[np.bool_] = (local * local).sum(axis=0) < 1.0
    return near[inside]


def _tilt(degrees: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x, y, z = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    tilt: npt.NDArray[np.float64] = about_z @ about_y @ about_x
    return tilt
