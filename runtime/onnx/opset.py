"""The opsets of ONNX that a bundle's graphs may be in: what the export writes, and what every check asks for."""

from __future__ import annotations

__all__ = ["OPSET", "OPSETS", "opset_fault"]

OPSETS = range(18, 21)
"""From 23 torch's exporter writes an `Attention` op that engines refuse."""

OPSET = OPSETS.start
"""What the export writes unless it is told otherwise: the oldest, which most runtimes know."""


def opset_fault(opset: int | None) -> str | None:
    """What is wrong with a graph of this opset of the standard domain (None: it names none), or None."""
    if opset in OPSETS:
        return None
    return f"opset {opset} is outside {OPSETS.start} to {OPSETS.stop - 1}"
