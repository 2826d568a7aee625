"""Class names that speak of a side."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cmc_sdk.imaging.classes import ClassTable

__all__ = ["mirror_name", "unmarked_lateral", "with_mirrors"]

_OTHER_SIDE = {"left": "right", "right": "left", "l": "r", "r": "l"}
_SIDE = re.compile(r"(?<![A-Za-z])(left|right|l|r)(?![A-Za-z])", re.IGNORECASE)


def mirror_name(name: str) -> str | None:
    """The name with its side exchanged ("kidney_left" → "kidney_right"), or None if it names no side."""
    match = _SIDE.search(name)
    if match is None:
        return None
    word = match.group(1)
    other = _OTHER_SIDE[word.lower()]
    other = other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other
    return name[: match.start()] + other + name[match.end() :]


def unmarked_lateral(classes: ClassTable) -> list[str]:
    """Classes whose name speaks of a side and that have no mirror mark."""
    return [item.name for item in classes.classes if item.mirror is None and mirror_name(item.name) is not None]


def with_mirrors(names: Sequence[str]) -> ClassTable:
    """A class table with default colours in which left and right classes that both occur are marked as mirrors."""
    table = ClassTable.from_names(names)
    classes = []
    for item in table.classes:
        mirror = mirror_name(item.name)
        classes.append(item.model_copy(update={"mirror": mirror if mirror in table.names else None}))
    return ClassTable(classes=tuple(classes))
