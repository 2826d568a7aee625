"""Operators that torch's own ONNX translation writes in a way that fails on real values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18 as op

__all__ = ["TRANSLATIONS"]


def _logaddexp(self: Any, other: Any) -> Any:
    """log(e^a + e^b) = max + log(1 + e^−|a−b|).

    torch 2.13 writes log(exp(a) + exp(b)), which is infinite from a = 89 on and −inf from −104 down, well inside
    the range of attention logits.
    """
    difference = op.Abs(op.Sub(self, other))
    one = op.CastLike(op.Constant(value_float=1.0), difference)
    return op.Add(op.Max(self, other), op.Log(op.Add(one, op.Exp(op.Neg(difference)))))


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {torch.ops.aten.logaddexp.default: _logaddexp}
"""For `torch.onnx.export(custom_translation_table=…)`."""
