"""The network's delicate parts, found in an exported graph by their structure.

    padded_logsumexp    everything between the position terms of a padded window and the logit of its virtual key
    attention_softmax   the logits of an attention from its products on, and their softmax
    mia_correlation     norm, product and softmax of the modality-independent attention between channels
    normalisation       LayerNormalization, InstanceNormalization, and instance norms that are written in stages
    logits              what makes the output

Names of ops and tensors change with every version of the exporter; what is computed does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import onnx

from cmc_sdk.errors import BundleError
from cmc_sdk.export.precision.view import MOVEMENT, GraphView

__all__ = ["KINDS", "Candidate", "IslandKind", "find_candidates"]

IslandKind = Literal["padded_logsumexp", "attention_softmax", "mia_correlation", "normalisation", "logits"]
KINDS: tuple[IslandKind, ...] = ("padded_logsumexp", "attention_softmax", "mia_correlation", "normalisation", "logits")

_ONE_OP_NORMS = frozenset({"LayerNormalization", "InstanceNormalization", "GroupNormalization"})
_DELICATE = frozenset(
    {"Softmax", "LogSoftmax", "Exp", "Log", "Sqrt", "Reciprocal", "Pow", "ReduceSum", "ReduceMean", "ReduceLogSumExp"}
    | {"ReduceL2", "ReduceSumSquare", *_ONE_OP_NORMS}
)
_BEFORE_SOFTMAX = MOVEMENT | {"Add", "Sub", "Max", "Exp", "Log", "Abs", "Neg", "ReduceMax", "ReduceSum", "Concat"}
_BEFORE_PRODUCT = MOVEMENT | {"Mul", "Div", "Reciprocal", "Sqrt", "Max", "Clip", "Add", "Pow", "ReduceSum", "ReduceL2"}
_TO_MEAN = frozenset({"AveragePool", "ReduceMean", "Slice", "Sub", "Add"})
_AFTER_SQUARE = frozenset({"AveragePool", "ReduceMean", "Add", "Sqrt", "Reciprocal", "Neg", "Mul"})


@dataclass(frozen=True)
class Candidate:
    """One delicate part of a graph, all of its places together.

    Args:
        kind: Which part.
        nodes: Names of its nodes, in the graph's order.
    """

    kind: IslandKind
    nodes: tuple[str, ...]


def find_candidates(view: GraphView) -> tuple[Candidate, ...]:
    """Every delicate part that stands in the graph, one candidate a kind.

    Raises:
        BundleError: A delicate op belongs to none of them, so that nothing is known of it.
    """
    found: dict[IslandKind, set[str]] = {kind: set() for kind in KINDS}
    for node in view.nodes.values():
        if node.op_type == "Softmax":
            correlation = _correlation(node, view=view)
            found["mia_correlation"] |= correlation
            if not correlation:
                reached = view.upstream(node, through=_BEFORE_SOFTMAX)
                padding = _log_sum(reached, view=view)
                found["padded_logsumexp"] |= padding
                found["attention_softmax"] |= _without_shore(reached.keys() - padding, view=view)
        elif node.op_type in _ONE_OP_NORMS:
            found["normalisation"].add(node.name)
        elif node.op_type == "Sub":
            found["normalisation"] |= _staged_norm(node, view=view)
    if "logits" in view.producer:
        found["logits"].add(view.producer["logits"].name)
    known = set().union(*found.values())
    for node in view.nodes.values():
        if node.op_type in _DELICATE and node.name not in known:
            raise BundleError(
                f"{view.name}: {node.op_type} {node.name} belongs to no part that is known to be delicate or not",
                mend="export in f32, and report the network",
            )
    return tuple(Candidate(kind, tuple(view.ordered(names))) for kind, names in found.items() if names)


def _without_shore(names: Iterable[str], *, view: GraphView) -> set[str]:
    """Without the nodes that only move what comes from outside: those may be of either type."""
    left = set(names)
    for node in view.ordered(left).values():
        if node.op_type in MOVEMENT and not any(maker.name in left for maker in view.makers(node)):
            left.discard(node.name)
    return left


def _log_sum(reached: dict[str, onnx.NodeProto], *, view: GraphView) -> set[str]:
    """Among the nodes before a softmax: those that lead to a logarithm, and what follows from those alone."""
    leading: set[str] = set()
    for node in reversed(reached.values()):
        if node.op_type == "Log" or any(taker.name in leading for taker in view.takers(node)):
            leading.add(node.name)
    found = _without_shore(leading, view=view)
    for node in reached.values():
        makers = view.makers(node)
        if makers and all(maker.name in found for maker in makers) and node.op_type != "Softmax":
            found.add(node.name)
    return found


def _correlation(softmax: onnx.NodeProto, *, view: GraphView) -> set[str]:
    """The nodes of a softmax of a matrix times its own transpose, scaled by constants, and of the matrix's norm."""
    chain = [softmax]
    while chain[-1].op_type != "MatMul":
        makers = view.makers(chain[-1])
        if len(makers) != 1 or makers[0].op_type not in {"Div", "Mul", "MatMul"}:
            return set()
        chain.append(makers[0])
    matrix, transposed = chain[-1].input
    other = view.producer.get(transposed)
    if other is None or other.op_type != "Transpose" or other.input[0] != matrix:
        return set()
    before = view.upstream(chain[-1], through=_BEFORE_PRODUCT)
    return _without_shore({*before, *(node.name for node in chain)}, view=view)


def _mean_of(values: str, mean: str, *, view: GraphView) -> set[str]:
    """The nodes that make `mean` of `values` alone; none if it is made of anything else."""
    found: set[str] = set()
    waiting = [mean]
    while waiting:
        value = waiting.pop()
        if value == values or view.is_weight(value):
            continue
        maker = view.producer.get(value)
        if maker is None or maker.op_type not in _TO_MEAN:
            return set()
        if maker.name not in found:
            found.add(maker.name)
            waiting += maker.input
    return found if any(view.nodes[name].op_type == "ReduceMean" for name in found) else set()


def _staged_norm(centring: onnx.NodeProto, *, view: GraphView) -> set[str]:
    """The nodes of an instance norm that is written in stages, from the node that centres its squares; or none."""
    values, mean = centring.input
    means = _mean_of(values, mean, view=view)
    centred = centring.output[0]
    square = next(
        (n for n in view.takers(centring) if n.op_type == "Mul" and list(n.input) == [centred, centred]), None
    )
    if not means or square is None:
        return set()
    found, node = {*means, centring.name, square.name}, square
    while True:
        takers = view.takers(node)
        if len(takers) != 1 or takers[0].op_type not in _AFTER_SQUARE:
            return set()
        node = takers[0]
        found.add(node.name)
        again = next((maker for maker in view.makers(node) if list(maker.input) == [mean, values]), None)
        if node.op_type == "Mul" and again is not None:
            found.add(again.name)
            break
    takers = view.takers(node)
    if len(takers) == 1 and takers[0].op_type == "Add" and any(view.is_weight(value) for value in takers[0].input):
        found.add(takers[0].name)
    return found
