"""Which node of a graph differs first: of two graphs with the same tensors, such as f32 and the FP16 made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs
from cmc_sdk.runtime.backends.wrapped import SerialBackend
from cmc_sdk.runtime.gate.case import ParityCase
from cmc_sdk.runtime.gate.reference import BackendReference
from cmc_sdk.runtime.gate.run import ParityReport
from cmc_sdk.runtime.segmenter import Segmenter

if TYPE_CHECKING:
    import onnx

__all__ = ["NodeDifference", "explain_difference", "first_difference"]

_NOTICEABLE = 0.02
"""Relative difference from which a tensor counts as different: rounding to FP16 alone stays far below."""

_SHARE = 0.25
"""A tensor counts as different from this share of the difference at the graph's output."""


@dataclass(frozen=True)
class NodeDifference:
    """The node that makes a difference which was not in its inputs.

    Args:
        node: Its name.
        op_type: What it computes.
        tensor: Its output.
        relative: Largest difference over largest magnitude of the reference; infinite for a value that is not finite.
    """

    node: str
    op_type: str
    tensor: str
    relative: float

    def __str__(self) -> str:
        size = "not finite" if np.isinf(self.relative) else f"{self.relative:.2g} relative"
        return f"{self.op_type} {self.node} ({size})"


def explain_difference(
    report: ParityReport, reference: BackendReference, *, candidates: Mapping[str, Backend], cases: Sequence[ParityCase]
) -> tuple[str, ...]:
    """Notes on the first fault of each candidate whose ONNX graphs can be laid beside the reference's; often none."""
    backend = reference.backend
    if not _has_graphs(backend):
        return ()
    notes = []
    for name, candidate in candidates.items():
        if not report.faults_of(name) or not _has_graphs(candidate):
            continue
        faulty = {run.case for run in report.runs if run.backend == name and run.faults}
        # A scan whose labelling stopped at values that are not finite has no runs at all.
        labelled = {run.case for run in report.runs if run.backend == name}
        case = next((item for item in cases if item.name in faulty or item.name not in labelled), None)
        if case is None:
            continue
        watch = _Worst(backend, candidate)
        images = {key: case.images[key] for key in reference.spec.names if key in case.images}
        Segmenter(reference.spec, watch).infer(images, pairing=case.pairing)
        if watch.graph is None:
            continue
        ours, theirs = (item.graph_content(*watch.graph) for item in (backend, candidate))
        if ours is None or theirs is None:
            continue
        found = first_difference(ours, theirs, inputs=watch.inputs[watch.graph])
        if found is not None:
            part, modality = watch.graph
            notes.append(f"in {part}_{modality} of {name} {candidate.precision} {found} differs first")
    return tuple(notes)


def _has_graphs(backend: Backend) -> bool:
    """Whether its graphs can be read: a backend has all of them in one format."""
    return backend.graph_content("encoder", backend.modalities[0]) is not None


def first_difference(reference: bytes, candidate: bytes, *, inputs: Mapping[str, Array]) -> NodeDifference | None:
    """The first node, in the reference's order, whose output differs although none of its inputs does.

    Tensors of the same name are taken to mean the same. Found by halving, one tensor of each graph computed at a time,
    so that the memory of a large graph is not multiplied.

    Args:
        reference: An ONNX file.
        candidate: Another, with the same inputs and outputs.
        inputs: Of one batch of windows, by name; others than the graphs' are left out.
    """
    import onnx

    ours, theirs = onnx.load_model_from_string(reference), onnx.load_model_from_string(candidate)
    pair = _Pair(ours, theirs, inputs)
    maker = {output: node for node in ours.graph.node for output in node.output if output}
    shared = maker.keys() & {output for node in theirs.graph.node for output in node.output}
    outputs = [item.name for item in ours.graph.output if item.name in shared]
    worst = max(outputs, key=pair.difference, default=None)
    if worst is None or pair.difference(worst) == 0.0:
        return None
    limit = max(_NOTICEABLE, _SHARE * min(pair.difference(worst), 1e30))
    limit = min(limit, pair.difference(worst))
    target = worst
    while True:
        before = _ancestors(target, maker=maker, shared=shared)
        found = _halve(before, target, pair=pair, limit=limit)
        parents = [name for name in _parents(found, maker=maker, shared=shared) if pair.difference(name) >= limit]
        if not parents:
            node = maker[found]
            return NodeDifference(node.name or found, node.op_type, found, pair.difference(found))
        target = parents[0]


def _halve(before: Sequence[str], target: str, *, pair: _Pair, limit: float) -> str:
    """A tensor of `before` that differs after one that does not; `target` if the last of them does not."""
    low, high, found = 0, len(before), target
    while low < high:
        middle = (low + high) // 2
        if pair.difference(before[middle]) >= limit:
            found, high = before[middle], middle
        else:
            low = middle + 1
    return found


def _parents(tensor: str, *, maker: Mapping[str, onnx.NodeProto], shared: set[str]) -> list[str]:
    """The nearest shared tensors that `tensor` is made from."""
    found: list[str] = []
    todo: list[str] = list(maker[tensor].input)
    seen: set[str] = set()
    while todo:
        name = todo.pop(0)
        if name in seen or name not in maker:
            continue
        seen.add(name)
        if name in shared:
            found.append(name)
        else:
            todo += maker[name].input
    return found


def _ancestors(tensor: str, *, maker: Mapping[str, onnx.NodeProto], shared: set[str]) -> list[str]:
    """All shared tensors that `tensor` is made from, in the order of the graph."""
    seen: set[str] = set()
    todo = [tensor]
    while todo:
        for name in _parents(todo.pop(), maker=maker, shared=shared):
            if name not in seen:
                seen.add(name)
                todo.append(name)
    return [name for name in maker if name in seen]


@dataclass
class _Pair:
    """Two graphs, and how far their tensors of one name lie apart."""

    reference: onnx.ModelProto
    candidate: onnx.ModelProto
    inputs: Mapping[str, Array]
    known: dict[str, float] = field(default_factory=dict)

    def difference(self, tensor: str) -> float:
        """Relative, as `NodeDifference` says it; 0 where the shapes differ or the values are no numbers."""
        if tensor not in self.known:
            ours, theirs = (self._compute(model, tensor) for model in (self.reference, self.candidate))
            self.known[tensor] = _relative(ours, theirs)
        return self.known[tensor]

    def _compute(self, model: onnx.ModelProto, tensor: str) -> npt.NDArray[np.generic]:
        import onnx
        import onnxruntime

        outputs = list(model.graph.output)
        del model.graph.output[:]
        model.graph.output.append(onnx.ValueInfoProto(name=tensor))
        try:
            content = model.SerializeToString()
        finally:
            del model.graph.output[:]
            model.graph.output.extend(outputs)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        wanted = {item.name: np.ascontiguousarray(self.inputs[item.name], np.float32) for item in session.get_inputs()}
        found: npt.NDArray[np.generic] = session.run([tensor], wanted)[0]
        return found


def _relative(ours: npt.NDArray[np.generic], theirs: npt.NDArray[np.generic]) -> float:
    if ours.shape != theirs.shape or ours.dtype.kind != "f" or theirs.dtype.kind != "f" or not ours.size:
        return 0.0
    if not np.isfinite(theirs).all():
        # -inf in both is a mask, not a fault.
        same = np.array_equal(np.isfinite(ours), np.isfinite(theirs))
        if not same:
            return float("inf")
    finite = np.isfinite(ours) & np.isfinite(theirs)
    known, given = ours[finite].astype(np.float32), theirs[finite].astype(np.float32)
    scale = float(np.abs(known).max(initial=0.0))
    return float(np.abs(known - given).max(initial=0.0)) / scale if scale else 0.0


class _Worst(SerialBackend):
    """Answers with `reference`, and keeps the inputs with which each graph of `candidate` differs most.

    Every graph of the candidate gets the reference's inputs, so that it is judged alone.
    """

    def __init__(self, reference: Backend, candidate: Backend) -> None:
        super().__init__(reference)
        self._candidate = candidate
        self.differences: dict[tuple[str, str], float] = {}
        self.inputs: dict[tuple[str, str], dict[str, Array]] = {}

    @property
    def graph(self) -> tuple[str, str] | None:
        """(part, modality) of the first graph, encoders first, that differs noticeably; else of the worst."""
        if not self.differences:
            return None
        order = sorted(self.differences, key=lambda key: key[0] != "encoder")
        noticed = (key for key in order if self.differences[key] > _NOTICEABLE)
        return next(noticed, max(order, key=lambda key: self.differences[key]))

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        expected = super().encode(modality, window)
        given = self._candidate.encode(modality, window)
        worst = max(_relative(array, given[output]) for output, array in expected.items())
        self._keep(("encoder", modality), worst, {"window": window})
        return expected

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        expected = super().decode(modality, inputs)
        worst = _relative(expected, self._candidate.decode(modality, inputs))
        self._keep(("decoder", modality), worst, inputs.named())
        return expected

    def _keep(self, graph: tuple[str, str], difference: float, inputs: dict[str, Array]) -> None:
        if difference > self.differences.get(graph, -1.0):
            self.differences[graph], self.inputs[graph] = difference, inputs
