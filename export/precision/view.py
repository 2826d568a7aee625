"""An ONNX graph to look around in: who makes a tensor, who takes it, of what type it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import onnx
from onnx import numpy_helper

from cmc_sdk.errors import BundleError

__all__ = ["MOVEMENT", "GraphView", "hoist_constants"]

MOVEMENT = frozenset(
    {"Reshape", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Expand", "Gather", "Split"}
)
"""Ops that move values and do not change them."""


class GraphView:
    """The lookups over one graph; nodes are known by their name, which every node must have, once.

    Args:
        model: Not changed. Its types must follow from inputs, weights and value_info, as the exporter writes them.
        name: For messages.

    Raises:
        BundleError: A node without a name of its own, or one that holds another graph.
    """

    def __init__(self, model: onnx.ModelProto, *, name: str) -> None:
        self.model, self.name = model, name
        self.nodes: dict[str, onnx.NodeProto] = {}
        self.producer: dict[str, onnx.NodeProto] = {}
        self.consumers: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            if not node.name or node.name in self.nodes:
                raise BundleError(f"{name}: a node named {node.name!r} twice or not at all", mend="export again")
            if any(
                attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
                for attribute in node.attribute
            ):
                raise BundleError(f"{name}: {node.name} holds a graph of its own", mend="export without control flow")
            self.nodes[node.name] = node
            for output in node.output:
                self.producer[output] = node
            for value in dict.fromkeys(node.input):
                self.consumers[value].append(node)
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.outputs = tuple(value.name for value in model.graph.output)
        self.types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
            self.types[value.name] = value.type.tensor_type.elem_type

    def makers(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that make what `node` takes."""
        return [self.producer[value] for value in node.input if value in self.producer]

    def takers(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that take what `node` makes."""
        return [taker for output in node.output for taker in self.consumers[output]]

    def is_weight(self, value: str) -> bool:
        """Whether a value is a constant of the graph."""
        return value in self.weights

    def upstream(self, start: onnx.NodeProto, *, through: Iterable[str]) -> dict[str, onnx.NodeProto]:
        """`start` and all nodes before it that are reached through ops of these types, in the graph's order."""
        allowed, found, waiting = frozenset(through), {start.name}, [start]
        while waiting:
            for maker in self.makers(waiting.pop()):
                if maker.op_type in allowed and maker.name not in found:
                    found.add(maker.name)
                    waiting.append(maker)
        return self.ordered(found)

    def ordered(self, names: Iterable[str]) -> dict[str, onnx.NodeProto]:
        """The nodes of these names, in the graph's order."""
        wanted = set(names)
        return {name: node for name, node in self.nodes.items() if name in wanted}


def hoist_constants(model: onnx.ModelProto) -> None:
    """Turn Constant nodes with a tensor into weights of the graph, in place."""
    kept = []
    for node in model.graph.node:
        value = next((item for item in node.attribute if item.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(value.t), node.output[0]))
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
