"""JSON that can be read in one way only."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from cmc_sdk.errors import BundleError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "parse_json"]

MAX_BYTES = 16 << 20
MAX_DEPTH = 32
_MAX_DIGITS = 32


def parse_json(data: bytes, *, name: str, max_bytes: int = MAX_BYTES) -> Any:
    """Parse UTF-8 JSON, refusing whatever two parsers could understand differently or choke on.

    Args:
        data: The exact bytes.
        name: What to call them in messages, usually the file's path.
        max_bytes: How long they may be.

    Raises:
        BundleError: Too long, not UTF-8, not JSON, nested deeper than 32, a key twice in one object, NaN or Infinity,
            a number that a float64 cannot hold, or a lone surrogate in a string.
    """
    if len(data) > max_bytes:
        raise _refusal(name, f"it has {len(data)} bytes, more than {max_bytes}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refusal(name, f"it is not UTF-8 at byte {error.start}") from error
    depth = _depth(text)
    if depth > MAX_DEPTH:
        raise _refusal(name, f"it is nested {depth} deep, more than {MAX_DEPTH}")

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        result: dict[str, object] = {}
        for key, value in items:
            if key in result:
                raise _refusal(name, f"the key {key!r} stands twice in one object")
            result[key] = value
        return result

    def constant(word: str) -> NoReturn:
        raise _refusal(name, f"it holds {word}, which is not JSON")

    def number(word: str) -> float:
        value = float(word)
        if not math.isfinite(value):
            raise _refusal(name, f"the number {word[:40]} is beyond float64")
        return value

    def integer(word: str) -> int:
        if len(word) > _MAX_DIGITS:
            raise _refusal(name, f"an integer has {len(word)} digits, more than {_MAX_DIGITS}")
        return int(word)

    try:
        parsed = json.loads(
            text, object_pairs_hook=pairs, parse_constant=constant, parse_float=number, parse_int=integer
        )
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise _refusal(name, f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except UnicodeEncodeError as error:
        raise _refusal(name, "a string holds a lone surrogate") from error
    return parsed


def _depth(text: str) -> int:
    """The deepest nesting of brackets outside strings, found without recursion, before any parser sees the text."""
    deepest = depth = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _refusal(name: str, reason: str) -> BundleError:
    return BundleError(f"{name} is refused: {reason}", mend="get the bundle again from whoever made it")
