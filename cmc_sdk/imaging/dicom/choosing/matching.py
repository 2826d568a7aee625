"""Whether a series is what a rule asks for, and if not, why not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from cmc_sdk.imaging.dicom.reading.series import SeriesVolume

__all__ = ["Rule", "rejection"]

_NOT_A_WORD = re.compile(r"[^a-z0-9]+")
_PART_OF_A_PATTERN = re.compile(r"[^a-z0-9*]+")


class Rule(Protocol):
    """The conditions of `cmc_sdk.bundle.series_rule.SeriesRule`, which says what they mean."""

    @property
    def words(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def without(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def contrast(self) -> Literal["yes", "no", "any"]: ...  # noqa: D102
    @property
    def orientation(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def b_value(self) -> tuple[float, float] | None: ...  # noqa: D102
    @property
    def min_slices(self) -> int: ...  # noqa: D102
    @property
    def slice_spacing_mm(self) -> tuple[float, float] | None: ...  # noqa: D102
    @property
    def pixel_spacing_mm(self) -> tuple[float, float] | None: ...  # noqa: D102


def rejection(volume: SeriesVolume, *, dicom_modality: str, rule: Rule | None) -> str | None:
    """Why `volume` is not what is looked for, or None.

    Args:
        volume: A candidate.
        dicom_modality: DICOM's word; `OT` for any.
        rule: What it must be like; None: anything.
    """
    if dicom_modality not in {"OT", volume.modality}:
        return f"it is {volume.modality}, not {dicom_modality}"
    if rule is None:
        return None
    words = header_words(volume)
    for wanted in rule.words:
        if not occurs(wanted, words):
            return f"no word of its header is {_spoken(wanted)}"
    for unwanted in rule.without:
        if occurs(unwanted, words):
            return f"a word of its header is {_spoken(unwanted)}"
    agent = bool(volume.words.contrast_agent.strip())
    if rule.contrast != "any" and agent != (rule.contrast == "yes"):
        return "its header names a contrast agent" if agent else "its header names no contrast agent"
    if rule.orientation and volume.orientation not in rule.orientation:
        return f"it is {volume.orientation}, not {' or '.join(rule.orientation)}"
    if rule.b_value is not None and (volume.b_value is None or not _within(volume.b_value, rule.b_value)):
        found = "its header gives no b-value" if volume.b_value is None else f"its b-value is {volume.b_value:g}"
        return f"{found}, not {_range(rule.b_value)} s/mm²"
    if volume.size_vox[2] < rule.min_slices:
        return f"it has {volume.size_vox[2]} slices, fewer than {rule.min_slices}"
    column, row, depth = volume.spacing_mm
    if rule.slice_spacing_mm is not None and not _within(depth, rule.slice_spacing_mm):
        return f"its slices are {depth:.3g} mm apart, not {_range(rule.slice_spacing_mm)} mm"
    if rule.pixel_spacing_mm is not None:
        for length in (column, row):
            if not _within(length, rule.pixel_spacing_mm):
                return f"its pixels are {length:.3g} mm apart, not {_range(rule.pixel_spacing_mm)} mm"
    return None


def header_words(volume: SeriesVolume) -> frozenset[str]:
    """The words that a rule's words are compared with, in small letters."""
    found = volume.words
    texts = (
        found.series_description,
        found.protocol_name,
        found.sequence_name,
        *found.scanning_sequence,
        *found.sequence_variant,
        *found.scan_options,
        *found.image_type,
    )
    return frozenset(word for text in texts for word in _NOT_A_WORD.split(text.lower()) if word)


def occurs(wanted: str, words: Iterable[str]) -> bool:
    """Whether one of the choices of `wanted` is among `words`; a choice of several words needs them all."""
    known = list(words)
    for choice in wanted.lower().split("|"):
        parts = [part for part in _PART_OF_A_PATTERN.split(choice) if part]
        if parts and all(any(fnmatchcase(word, part) for word in known) for part in parts):
            return True
    return False


def _within(value: float, bounds: tuple[float, float]) -> bool:
    # Headers round: a spacing of 3.0000001 is 3.
    return bounds[0] * (1 - 1e-4) - 1e-9 <= value <= bounds[1] * (1 + 1e-4) + 1e-9


def _range(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:g} to {bounds[1]:g}"


def _spoken(word: str) -> str:
    return " or ".join(repr(choice.strip()) for choice in word.split("|"))
