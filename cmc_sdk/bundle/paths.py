"""Which paths a bundle may hold: the same file on every system, and never one outside the bundle."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cmc_sdk.errors import BundleError

__all__ = ["MANIFEST", "check_paths"]

MANIFEST = "manifest.json"
_RESERVED = frozenset({MANIFEST, "manifest.sig"})
_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
# Names that Windows opens as devices, whatever follows the first dot.
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})
_MAX_LENGTH = 200


def check_paths(paths: Iterable[str], *, name: str) -> None:
    """Refuse paths that are not plain relative ones, that stand twice, or that are told apart by case only.

    Args:
        paths: Relative to the bundle, with forward slashes.
        name: The bundle or manifest, for messages.

    Raises:
        BundleError: Names the path and the rule.
    """
    seen: dict[str, str] = {}
    for path in paths:
        fault = _fault(path)
        if fault is None and path.casefold() in seen:
            twin = seen[path.casefold()]
            fault = "stands twice" if twin == path else f"differs from {twin!r} by case only"
        if fault is not None:
            raise BundleError(
                f"{name}: the path {path!r} {fault}",
                mend="use plain relative paths such as graphs/f32/encoder_ct.onnx, each once",
            )
        seen[path.casefold()] = path
    folders = {path.casefold().rsplit("/", depth)[0] for path in seen for depth in range(1, path.count("/") + 1)}
    for clash in folders & set(seen):
        raise BundleError(
            f"{name}: the path {seen[clash]!r} is a file and, by another path, a folder", mend="rename one of them"
        )


def _fault(path: str) -> str | None:
    if not path:
        return "is empty"
    if len(path) > _MAX_LENGTH:
        return f"is longer than {_MAX_LENGTH} characters"
    if "\\" in path:
        return "holds a backslash; folders are separated by '/'"
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "is absolute"
    if path.casefold() in _RESERVED:
        return "is reserved for the bundle itself"
    for segment in path.split("/"):
        if segment in ("", ".", ".."):
            return f"has a segment {segment!r}"
        if not _SEGMENT.fullmatch(segment) or segment.endswith("."):
            return (
                "has a segment that is not made of letters, digits, '.', '_' and '-', or starts with or ends in a dot"
            )
        if segment.partition(".")[0].casefold() in _DEVICES:
            return f"has a segment {segment!r} that Windows takes for a device"
    return None
