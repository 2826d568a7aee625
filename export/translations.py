"""Operators that torch's own ONNX translation writes in a way that fails, or is inexact, on real values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from onnx import TensorProto, numpy_helper
from onnxscript import opset18 as op

__all__ = ["TRANSLATIONS"]

LARGEST_BIN = 8
"""Voxels along one axis that are averaged at once: sums of 8³ stay exact to a few units in the last place."""

Symbol: TypeAlias = Any
"""A tensor that is being traced: what onnxscript's ops give and take has no type of its own that they all agree on."""


def _logaddexp(self: Symbol, other: Symbol) -> Symbol:
    """log(e^a + e^b) = max + log(1 + e^−|a−b|).

    torch 2.13 writes log(exp(a) + exp(b)), which is infinite from a = 89 on and −inf from −104 down, well inside
    the range of attention logits.
    """
    difference = op.Abs(op.Sub(self, other))
    number: Symbol = op.Constant(value_float=1.0)
    one = op.CastLike(number, difference)
    return op.Add(op.Max(self, other), op.Log(op.Add(one, op.Exp(op.Neg(difference)))))


def _instance_norm(
    input: Symbol,
    weight: Symbol,
    bias: Symbol,
    running_mean: Symbol,
    running_var: Symbol,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Symbol:
    """Statistics in stages, means of means, where InstanceNormalization adds up all voxels one after another in FP32.

    That operator is a thousand times less exact than torch where much of a window is one value, such as the air around
    a head: 1e-4 after one layer on ONNX Runtime and OpenVINO, 1e-3 in the logits (64³, brain MR).

    The mean is taken as that of one corner plus what lies beside it. The mean of many equal numbers is not quite that
    number, and one norm after another makes 300 times as much of the rest: 4e-2 after four layers on a scan of one
    value, where this gives 0.

    The input is centred twice, once for its squares and once, with the other sign, for the result: each time a library
    fuses it with what follows, where one centred map for both would be written and read again. The signs keep it from
    taking the two for one.
    """
    size = [int(count) for count in input.shape[2:]]
    source, factor = _scaled_channel(input)
    mean = _mean_from_corner(source, size)
    centred = op.Sub(source, mean)
    variance = _staged_mean(op.Mul(centred, centred), size)
    if factor is not None:
        variance = op.Mul(variance, op.Mul(factor, factor))
    scale = op.Reciprocal(op.Sqrt(op.Add(variance, op.Constant(value_float=eps))))
    if factor is not None:
        scale = op.Mul(scale, factor)
    scale = op.Neg(scale if weight is None else op.Mul(scale, op.Unsqueeze(weight, _axes(size))))
    normalised = op.Mul(op.Sub(mean, source), scale)
    return normalised if bias is None else op.Add(normalised, op.Unsqueeze(bias, _axes(size)))


def _scaled_channel(values: Symbol) -> tuple[Symbol, Symbol | None]:
    """(x, w) where `values` is one channel x (B, 1, …) times w (C, 1, …) plus a bias; else (values, None).

    Such is the way past the first block of a decoder. Its statistics are those of the one channel, and what a norm
    takes off again, the bias, need not be added.
    """
    maker = values.producer()
    if maker is None or maker.op_type != "Conv":
        return values, None
    source, kernel = maker.inputs[0], maker.inputs[1]
    one_channel = list(source.shape[1:]) == [1, *values.shape[2:]]
    if not one_channel or any(size != 1 for size in kernel.shape[1:]):
        return values, None
    return source, op.Squeeze(kernel, _axes([1]))


def _mean_from_corner(values: Symbol, size: Sequence[int]) -> Symbol:
    """(B, C, 1, …): the mean over all voxels; exactly their value where all have one."""
    bins = _bins(size)
    corner = _first(values, [1] * len(size))
    if max(bins) == 1:
        return op.Add(corner, op.ReduceMean(op.Sub(values, corner), _axes(size, first=2), keepdims=1))
    pooled = op.AveragePool(values, kernel_shape=bins, strides=bins)
    # Bins of equal voxels are equal among themselves, though not to their voxels: taken off each other they leave 0.
    beside = _staged_mean(op.Sub(pooled, _first(pooled, [1] * len(size))), _pooled(size, bins))
    within = op.ReduceMean(op.Sub(_first(values, bins), corner), _axes(size, first=2), keepdims=1)
    return op.Add(corner, op.Add(within, beside))


def _staged_mean(values: Symbol, size: Sequence[int]) -> Symbol:
    """(B, C, 1, …): mean over all voxels, over bins of equal size first."""
    while max(bins := _bins(size)) > 1:
        values, size = op.AveragePool(values, kernel_shape=bins, strides=bins), _pooled(size, bins)
    return op.ReduceMean(values, _axes(size, first=2), keepdims=1)


def _bins(size: Sequence[int]) -> list[int]:
    """Voxels that are averaged at once along each axis; all 1 where the rest can be averaged as it is, or is prime."""
    if max(size) <= LARGEST_BIN:
        return [1] * len(size)
    return [max(step for step in range(1, LARGEST_BIN + 1) if count % step == 0) for count in size]


def _pooled(size: Sequence[int], bins: Sequence[int]) -> list[int]:
    return [count // step for count, step in zip(size, bins, strict=True)]


def _first(values: Symbol, count: Sequence[int]) -> Symbol:
    """The first voxels along every axis."""
    begin, end = (op.Constant(value=_int_tensor(ends)) for ends in ([0] * len(count), count))
    return op.Slice(values, begin, end, _axes(count, first=2))


def _axes(size: Sequence[int], *, first: int = 1) -> Symbol:
    return op.Constant(value=_int_tensor(range(first, first + len(size))))


def _int_tensor(values: Sequence[int] | range) -> TensorProto:
    return numpy_helper.from_array(np.array(list(values), np.int64))


TRANSLATIONS: dict[Callable[..., object], Callable[..., object]] = {
    torch.ops.aten.logaddexp.default: _logaddexp,
    torch.ops.aten.instance_norm.default: _instance_norm,
}
"""For `torch.onnx.export(custom_translation_table=…)`."""
