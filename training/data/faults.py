"""Turning a schema's complaints into sentences that name the key, the rule and the nearest right key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

__all__ = ["schema_faults"]

Place = tuple[int | str, ...]
"""Where a complaint stands: keys and indices from the top of the document."""


def schema_faults(error: ValidationError, *, model: type[BaseModel]) -> list[str]:
    """Every complaint of `error` as one sentence, unknown keys with the nearest allowed one.

    Args:
        error: What pydantic raised.
        model: The schema that was validated against.
    """
    items = error.errors()
    # A tuple with a bad item is also reported as too short: the second complaint is only confusing.
    told = [item for item in items if not (item["type"] == "too_short" and _is_above(item["loc"], items))]
    return [_sentence(item, model) for item in told]


def _is_above(loc: Place, items: list[ErrorDetails]) -> bool:
    return any(len(item["loc"]) > len(loc) and item["loc"][: len(loc)] == loc for item in items)


def _sentence(item: ErrorDetails, model: type[BaseModel]) -> str:
    path = _path(item["loc"])
    if item["type"] == "extra_forbidden":
        key = str(item["loc"][-1])
        allowed = _allowed(model, item["loc"][:-1])
        near = difflib.get_close_matches(key.lower(), allowed, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(sorted(allowed))}"
        return f"{path}: unknown key; {hint}" if allowed else f"{path}: unknown key"
    if item["type"] == "missing":
        return f"{path}: is missing"
    message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    given = item.get("input")
    shown = f" (given {given!r})" if isinstance(given, str | int | float | bool | type(None)) else ""
    return f"{path}: {message[:1].lower()}{message[1:]}{shown}"


def _path(loc: Place) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text.replace("classes.classes[", "classes[") or "the whole file"


def _allowed(model: type[BaseModel], loc: Place) -> list[str]:
    """The keys of the model that stands at `loc`, following its fields' annotations."""
    current: list[type[BaseModel]] = [model]
    for part in loc:
        if isinstance(part, int):
            continue
        found: list[type[BaseModel]] = []
        for candidate in current:
            field = candidate.model_fields.get(str(part))
            if field is not None:
                found.extend(_models(field.annotation))
        current = found or current  # keys of a mapping and tags of a union do not descend
    return sorted({name for candidate in current for name in candidate.model_fields})


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
