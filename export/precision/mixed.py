"""A strongly typed FP16 graph with FP32 islands, made from an f32 graph.

Strongly typed: all floating-point inputs of a node have one type, which is the type that it computes in, so that an
engine has nothing to choose. Inputs and outputs of the graph stay FP32. A tensor is cast at most once to the other
type, whoever takes it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cmc_sdk.errors import BundleError
from cmc_sdk.export.precision.view import MOVEMENT, GraphView, hoist_constants

__all__ = ["FP16_LARGEST", "FP16_NORMAL", "Mixed", "to_mixed"]

FP16_LARGEST = 65504.0
FP16_NORMAL = 2.0**-14
"""Below this an FP16 value loses digits, and a device may take it for zero."""

_FLOAT: int = TensorProto.FLOAT
_HALF: int = TensorProto.FLOAT16
_SUFFIX = {_FLOAT: "f32", _HALF: "fp16"}


@dataclass(frozen=True)
class Mixed:
    """A converted graph, and what its weights lost.

    Args:
        model: The graph.
        overflowing: Weights with a value beyond FP16's range, by name the largest absolute value.
        faint: Single numbers (an epsilon, a factor) that FP16 holds inexactly or as zero, by name the value.
        flushed: How many values of weights became zero.
    """

    model: onnx.ModelProto
    overflowing: dict[str, float] = field(default_factory=dict)
    faint: dict[str, float] = field(default_factory=dict)
    flushed: int = 0


def to_mixed(model: onnx.ModelProto, *, islands: Collection[str], name: str) -> Mixed:
    """Convert an f32 graph.

    Nodes outside of `islands` compute in FP16, but for: ops that ONNX does not define for FP16; comparisons, whose
    result is no number; and nodes that only move values, where all who take them compute in FP32 (the cast then stands
    once before them, instead of once after each).

    Args:
        model: In f32 throughout; not changed.
        islands: Names of the nodes that stay FP32.
        name: For messages.

    Raises:
        BundleError: The graph is not f32, holds a type that is not known here, or has none of the named nodes.
    """
    source = onnx.ModelProto()
    source.CopyFrom(model)
    hoist_constants(source)
    view = GraphView(source, name=name)
    missing = sorted(set(islands) - view.nodes.keys())
    if missing:
        raise BundleError(f"{name} has no node {missing[0]}, which is to stay FP32", mend="export again")
    foreign = {_HALF, TensorProto.DOUBLE, TensorProto.BFLOAT16} & set(view.types.values())
    if foreign:
        raise BundleError(
            f"{name} holds {TensorProto.DataType.Name(min(foreign))}: not an f32 graph", mend="export again"
        )
    writer = _Writer(view, wanted=_wanted_types(view, islands=frozenset(islands)))
    for node in view.nodes.values():
        writer.add(node)
    return writer.finish()


def _ports(node: onnx.NodeProto, *, opset: int) -> tuple[list[str], list[str], dict[str, set[str]]]:
    """The type words of each input and each output, and what each type variable may be."""
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)

    def words(formal: list[onnx.defs.OpSchema.FormalParameter], count: int) -> list[str]:
        # The last parameter of an op may stand for any number.
        return [formal[min(index, len(formal) - 1)].type_str for index in range(count)]

    constraints = {item.type_param_str: set(item.allowed_type_strs) for item in schema.type_constraints}
    return words(list(schema.inputs), len(node.input)), words(list(schema.outputs), len(node.output)), constraints


def _wanted_types(view: GraphView, *, islands: frozenset[str]) -> dict[str, int]:
    """The type that each node computes in, by its name."""
    opset = next(item.version for item in view.model.opset_import if item.domain == "")
    wanted: dict[str, int] = {}
    for node in view.nodes.values():
        inputs, outputs, constraints = _ports(node, opset=opset)
        floats = [word for word, value in zip((*inputs, *outputs), (*node.input, *node.output), strict=True)
                  if view.types.get(value) == _FLOAT]  # fmt: skip
        half = all("tensor(float16)" in constraints.get(word, {word}) for word in floats)
        judged = any(view.types.get(value) == _FLOAT for value in node.output)
        wanted[node.name] = _HALF if half and judged and node.name not in islands else _FLOAT
    for node in reversed(view.nodes.values()):
        moves = node.op_type in MOVEMENT or (node.op_type == "Cast" and view.types[node.input[0]] != _FLOAT)
        takers = view.takers(node)
        shown = any(output in view.outputs for output in node.output)
        if moves and takers and not shown and all(wanted[taker.name] == _FLOAT for taker in takers):
            wanted[node.name] = _FLOAT
    return wanted


class _Writer:
    """Writes nodes one after another, casting what they take where it is of the other type."""

    def __init__(self, view: GraphView, *, wanted: dict[str, int]) -> None:
        self._view, self._wanted = view, wanted
        self._opset = next(item.version for item in view.model.opset_import if item.domain == "")
        self._nodes: list[onnx.NodeProto] = []
        self._names: dict[tuple[str, int], str] = {(value.name, _FLOAT): value.name for value in view.model.graph.input}
        self._made = {value.name: _FLOAT for value in view.model.graph.input}
        self._weights: dict[str, onnx.TensorProto] = {}
        self._mixed = Mixed(onnx.ModelProto())
        self._flushed = 0

    def add(self, node: onnx.NodeProto) -> None:
        """Write one node in the type that is wanted of it."""
        view, wanted = self._view, self._wanted[node.name]
        words, _, constraints = _ports(node, opset=self._opset)
        new = onnx.NodeProto()
        new.CopyFrom(node)
        for index, (value, word) in enumerate(zip(node.input, words, strict=True)):
            if view.types.get(value) == _FLOAT:
                # An input that is float32 in ONNX's own definition, such as the scales of Resize, stays so.
                new.input[index] = self._value(value, wanted if word in constraints else _FLOAT, taker=node)
            elif view.is_weight(value):
                self._weights[value] = view.weights[value]
        for index, value in enumerate(node.output):
            if view.types.get(value) != _FLOAT:
                continue
            self._made[value] = wanted
            # The graph's output is FP32: what is made in FP16 gets another name, and a cast to it at the end.
            own = value if wanted == _FLOAT or value not in view.outputs else f"{value}_fp16"
            self._names[value, wanted] = new.output[index] = own
        if node.op_type == "Cast":
            for attribute in new.attribute:
                if attribute.name == "to" and attribute.i == _FLOAT:
                    attribute.i = wanted
        self._nodes.append(new)

    def _value(self, value: str, wanted: int, *, taker: onnx.NodeProto) -> str:
        """The name of a value in a type."""
        if (value, wanted) not in self._names:
            if self._view.is_weight(value):
                self._names[value, wanted] = self._weight(value, wanted, taker=taker)
            else:
                own = self._names[value, self._made[value]]
                # The output's own name is free for its cast.
                cast = value if wanted == _FLOAT and value in self._view.outputs else f"{value}_as_{_SUFFIX[wanted]}"
                self._nodes.append(helper.make_node("Cast", [own], [cast], name=f"cast/{cast}", to=wanted))
                self._names[value, wanted] = cast
        return self._names[value, wanted]

    def _weight(self, value: str, wanted: int, *, taker: onnx.NodeProto) -> str:
        tensor = self._view.weights[value]
        if wanted == _FLOAT:
            self._weights[value] = tensor
            return value
        array = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        largest = float(np.abs(array).max(initial=0.0))
        if not np.isfinite(half).all():
            self._mixed.overflowing[f"{value} of {taker.name}"] = largest
        if array.size == 1 and 0.0 < largest < FP16_NORMAL:
            self._mixed.faint[f"{value} of {taker.name}"] = float(array.reshape(())[()])
        self._flushed += int(np.count_nonzero((half == 0) & (array != 0)))
        name = f"{value}_as_fp16"
        self._weights[name] = numpy_helper.from_array(half, name)
        return name

    def finish(self) -> Mixed:
        """The graph, with its outputs in FP32 and every tensor's type written down and checked."""
        for output in self._view.outputs:
            self._value(output, _FLOAT, taker=self._nodes[-1])
        model = onnx.ModelProto()
        model.CopyFrom(self._view.model)
        for kept in (model.graph.node, model.graph.initializer, model.graph.value_info):
            del kept[:]
        model.graph.node.extend(self._nodes)
        model.graph.initializer.extend(self._weights.values())
        try:
            typed = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        except onnx.shape_inference.InferenceError as error:
            raise BundleError(f"{self._view.name}: types do not agree: {error}", mend="report this network") from error
        return Mixed(typed, self._mixed.overflowing, self._mixed.faint, self._flushed)
