"""Graphs in memory, run by ONNX Runtime: what the calibration and its check compute with."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.errors import BackendError
from cmc_sdk.export.precision.view import GraphView
from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs

__all__ = ["GraphRun", "RoundedBackend", "with_ranges"]

_RANGE = "largest/"


class GraphRun:
    """One graph, ready to run.

    Args:
        model: Inputs and outputs float32.
        name: For messages.

    Raises:
        BackendError: ONNX Runtime is not installed, or refuses the graph.
    """

    def __init__(self, model: onnx.ModelProto, *, name: str) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendError("onnxruntime is not installed", mend="pip install 'cmc-sdk[cpu]'") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library's own exceptions share no base class but this one
            raise BackendError(f"onnxruntime cannot load {name}: {error}", mend="export in f32") from error
        self._inputs = [item.name for item in self._session.get_inputs()]
        self._outputs = [item.name for item in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name from inputs by name; what it does not take may be among them."""
        found = self._session.run(self._outputs, {name: inputs[name] for name in self._inputs})
        return dict(zip(self._outputs, found, strict=True))


def with_ranges(model: onnx.ModelProto, *, name: str) -> onnx.ModelProto:
    """The graph with one more output for each FP32 tensor: its largest absolute value, named `largest/TENSOR`."""
    view = GraphView(model, name=name)
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    for node in view.nodes.values():
        for value in node.output:
            if view.types.get(value) == onnx.TensorProto.FLOAT:
                size, largest = f"{_RANGE}size/{value}", f"{_RANGE}{value}"
                watched.graph.node.append(onnx.helper.make_node("Abs", [value], [size]))
                watched.graph.node.append(onnx.helper.make_node("ReduceMax", [size], [largest], keepdims=0))
                watched.graph.output.append(onnx.helper.make_tensor_value_info(largest, onnx.TensorProto.FLOAT, []))
    return watched


class RoundedBackend(Backend):
    """A bundle's FP16 graphs as `to_rounded` makes them: a check of the gate, never shipped.

    Args:
        graphs: The rounded graphs, with what the manifest says of those that they stand for.
        modalities: In the network's order.
    """

    name = "onnxruntime"
    precision = "fp16"

    def __init__(self, graphs: list[tuple[Graph, onnx.ModelProto]], *, modalities: tuple[str, ...]) -> None:
        self.modalities = modalities
        self._models: dict[tuple[str, str], tuple[str, onnx.ModelProto]] = {
            (entry.part, entry.modality): (entry.path, model) for entry, model in graphs
        }
        self._runs: dict[tuple[str, str], GraphRun] = {}

    def graph_content(self, part: str, modality: str) -> bytes:
        """The rounded graph as an ONNX file; its tensors have the f32 graph's names."""
        return bytes(self._models[part, modality][1].SerializeToString())

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As `Backend.encode`."""
        return self._run("encoder", modality, {"window": window})

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        """As `Backend.decode`."""
        return self._run("decoder", modality, inputs.named())["logits"]

    def _run(self, part: str, modality: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        key = (part, modality)
        if key not in self._runs:
            path, model = self._models[key]
            self._runs[key] = GraphRun(model, name=path)
        return self._runs[key].run(inputs)
