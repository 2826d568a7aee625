"""Which frames of a series belong to one volume, and what tells its volumes apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cmc_sdk.imaging.dicom.reading.frames import Discriminators, Frame
from cmc_sdk.imaging.dicom.reading.pixels import stored_planes
from cmc_sdk.imaging.dicom.reading.stack import SAME_PLACE_MM, orientation_word, place_along
from cmc_sdk.imaging.dicom.refusal import DicomError

__all__ = ["Group", "group_series", "without_duplicates"]

_DIRECTION, _SPACING = 1e-3, 1e-3


@dataclass(frozen=True)
class Group:
    """Frames that make one volume.

    Args:
        frames: In no order.
        traits: Word → value of what tells the group from the others of its series, such as `b` → `800`.
    """

    frames: tuple[Frame, ...]
    traits: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """Its traits in words; empty where the series has one volume."""
        return ", ".join(_phrase(trait, value) for trait, value in self.traits)


def group_series(frames: Sequence[Frame]) -> list[Group]:
    """Take a series apart by frame of reference, size, orientation, b-value, echo and kind, then by what is left.

    Where positions still repeat within a part, the first field of `Discriminators` that separates them into parts which
    each cover most of the places does so; what it cannot separate stays together, for `without_duplicates` to judge.
    """
    parts: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        parts[_always(frame)].append(frame)
    found = [(key, part) for key, same in parts.items() for part in _by_plane(same)]
    pieces = [piece for _, part in found for piece in _by_discriminator(part, Discriminators._fields)]
    groups = [Group(tuple(piece), ()) for piece in pieces]
    return _named(groups)


def without_duplicates(frames: Sequence[Frame]) -> tuple[tuple[Frame, ...], int]:
    """Frames with one at each place, and how many identical ones were dropped.

    Raises:
        DicomError: Two different images lie at one place.
    """
    kept: list[Frame] = []
    dropped = 0
    for frame in sorted(frames, key=place_along):
        twin = next((other for other in reversed(kept[-4:]) if _same_place(other, frame)), None)
        if twin is None:
            kept.append(frame)
        elif _identical(twin, frame):
            dropped += 1
        else:
            raise DicomError(
                "duplicates",
                "two different images lie at one place and nothing in their headers tells which is meant, the first at "
                f"{tuple(round(value, 2) for value in frame.position or ())} mm",
                mend="export each of the volumes as a series of its own",
            )
    return tuple(kept), dropped


def _always(frame: Frame) -> Hashable:
    """What frames of one volume always share."""
    instance = frame.instance
    echo_time = None if frame.echo_time_ms is None else round(frame.echo_time_ms, 2)
    return (
        instance.study_instance_uid,
        instance.patient_key,
        instance.frame_of_reference_uid,
        instance.modality,
        (instance.columns, instance.rows),
        (instance.layout.bits_allocated, instance.layout.signed),
        None if frame.b_value is None else round(frame.b_value, 1),
        frame.echo_number,
        echo_time,
        frame.kinds,
    )


def _by_plane(frames: list[Frame]) -> list[list[Frame]]:
    """By orientation and pixel spacing, within the rounding of headers."""
    parts: list[tuple[tuple[float, ...], tuple[float, ...], list[Frame]]] = []
    for frame in frames:
        directions, spacing = frame.orientation or (), frame.pixel_spacing or ()
        for first, wide, part in parts:
            if first is directions or (
                all(abs(a - b) <= _DIRECTION for a, b in zip(first, directions, strict=True))
                and all(abs(a - b) <= _SPACING * a for a, b in zip(wide, spacing, strict=True))
            ):
                part.append(frame)
                break
        else:
            parts.append((directions, spacing, [frame]))
    return [part for _, _, part in parts]


def _by_discriminator(frames: list[Frame], left: Sequence[str]) -> list[list[Frame]]:
    repeats = _repeats(frames)
    if repeats == 0:
        return [frames]
    places = len(frames) - repeats
    for at, name in enumerate(left):
        parts: dict[str, list[Frame]] = defaultdict(list)
        for frame in frames:
            parts[getattr(frame.discriminators, name)].append(frame)
        if len(parts) < 2:
            continue
        if all(2 * (len(part) - _repeats(part)) >= places for part in parts.values()):
            return [piece for part in parts.values() for piece in _by_discriminator(part, left[at + 1 :])]
    return [frames]


def _repeats(frames: list[Frame]) -> int:
    """How many frames lie where another one does."""
    ordered = sorted(frames, key=place_along)
    return sum(_same_place(first, second) for first, second in pairwise(ordered))


def _same_place(first: Frame, second: Frame) -> bool:
    pairs = zip(first.position or (), second.position or (), strict=True)
    return all(abs(one - other) < SAME_PLACE_MM for one, other in pairs)


def _identical(first: Frame, second: Frame) -> bool:
    if first.scaling != second.scaling:
        return False
    (one,), (other,) = (list(stored_planes(frame.instance, [frame.index])) for frame in (first, second))
    return bool(np.array_equal(one, other))


def _normal(frame: Frame) -> np.ndarray:
    directions = np.array(frame.orientation, dtype=np.float64)
    return np.cross(directions[:3], directions[3:])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _size(frame: Frame) -> str:
    return f"{frame.instance.columns}×{frame.instance.rows}"


# What a group may be called after, in this order.
_TRAITS: tuple[tuple[str, Callable[[Frame], str]], ...] = (
    ("orientation", lambda frame: orientation_word(_normal(frame))),
    ("b", lambda frame: _number(frame.b_value)),
    ("echo", lambda frame: _number(frame.echo_number)),
    ("TE", lambda frame: _number(frame.echo_time_ms)),
    ("kind", lambda frame: "\\".join(frame.kinds)),
    ("frame of reference", lambda frame: frame.instance.frame_of_reference_uid),
    ("patient", lambda frame: frame.instance.patient_key),
    ("study", lambda frame: frame.instance.study_instance_uid),
    ("modality", lambda frame: frame.instance.modality),
    ("size", _size),
    ("pixel spacing", lambda frame: "×".join(f"{value:.4g}" for value in frame.pixel_spacing or ())),
)
# Values that mean nothing to a reader, or are long: they are numbered instead.
_NUMBERED = {
    "frame of reference",
    "patient",
    "study",
    "time",
    "direction",
    "stack",
    "acquisition",
    "acquisition time",
    "image type",
}


def _named(groups: list[Group]) -> list[Group]:
    if len(groups) < 2:
        return groups
    columns: list[tuple[str, list[str]]] = []
    for trait, read in _TRAITS:
        columns.append((trait, [read(group.frames[0]) for group in groups]))
    for name in Discriminators._fields:
        found: list[set[str]] = [{getattr(frame.discriminators, name) for frame in group.frames} for group in groups]
        if all(len(values) == 1 for values in found):
            columns.append((name.replace("_", " "), [next(iter(values)) for values in found]))
    traits: list[list[tuple[str, str]]] = [[] for _ in groups]
    for trait, values in columns:
        if len(set(values)) < 2 or len({tuple(own) for own in traits}) == len(groups):
            continue
        shown = _ranks(values) if trait in _NUMBERED else values
        apart = {(tuple(own), word) for own, word in zip(traits, shown, strict=True)}
        if len(apart) > len({tuple(own) for own in traits}):
            for own, word in zip(traits, shown, strict=True):
                own.append((trait, word))
    counts = Counter(tuple(own) for own in traits)
    seen: Counter[tuple[tuple[str, str], ...]] = Counter()
    named = []
    for group, own in zip(groups, traits, strict=True):
        key = tuple(own)
        seen[key] += 1
        extra = (("volume", str(seen[key])),) if counts[key] > 1 else ()
        named.append(Group(group.frames, key + extra))
    return named


def _ranks(values: list[str]) -> list[str]:
    """1, 2, … in the order of the values, numbers by size."""

    def order(value: str) -> tuple[float, str]:
        try:
            return (float(value), value)
        except ValueError:
            return (float("inf"), value)

    ranks = {value: str(index + 1) for index, value in enumerate(sorted(set(values), key=order))}
    return [ranks[value] for value in values]


def _phrase(trait: str, value: str) -> str:
    if trait in {"b", "TE"}:
        return f"{trait}={value}" if value else f"no {trait}"
    if trait in {"orientation", "size", "modality"}:
        return value
    return f"{trait} {value}" if value else f"no {trait}"
