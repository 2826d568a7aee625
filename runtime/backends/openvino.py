"""OpenVINO on the CPU, FP32, without its telemetry."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.errors import BackendError
from cmc_sdk.runtime.backends.graphs import CompiledGraph, GraphBackend
from cmc_sdk.runtime.backends.protocol import Array

__all__ = ["OpenVinoBackend", "import_openvino"]


def import_openvino() -> Any:
    """Import openvino so that it cannot report home.

    Importing it sends an event to a vendor's server and writes an id to the home folder through the package
    `openvino_telemetry`; where that package cannot be imported it uses a stub of its own that does nothing.

    Raises:
        ImportError: openvino is not installed.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


class OpenVinoBackend(GraphBackend):
    """Runs a bundle's graphs with OpenVINO's CPU plug-in.

    Raises:
        BackendError: openvino is not installed, or refuses a graph.
    """

    name = "openvino"

    def compile_graph(self, data: bytes, graph: Graph) -> CompiledGraph:
        """Read the verified buffer; it is compiled for each batch size when that size first comes."""
        try:
            core = import_openvino().Core()
        except ImportError as error:
            raise BackendError("openvino is not installed", mend="pip install 'cmc-sdk[cpu]'") from error
        # Without a hint OpenVINO computes in bf16 on processors that have it.
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "EXECUTION_MODE_HINT": "ACCURACY",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if self.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = self.threads
        return _Model(core, data, path=graph.path, settings=settings)


class _Model:
    """One graph, compiled once per batch size: fixed shapes are faster than a dynamic batch."""

    def __init__(self, core: Any, data: bytes, *, path: str, settings: Mapping[str, Any]) -> None:
        self._core, self._path, self._settings = core, path, dict(settings)
        try:
            self._model = core.read_model(io.BytesIO(data))
        except Exception as error:  # the library raises RuntimeError and its own
            raise BackendError(f"openvino cannot read {path}: {error}", mend="try --backend onnxruntime") from error
        self._outputs = [output.get_any_name() for output in self._model.outputs]
        self._requests: dict[int, Any] = {}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        batch = len(next(iter(inputs.values())))
        try:
            if batch not in self._requests:
                self._requests[batch] = self._compile(batch)
            request = self._requests[batch]
            found = request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        except Exception as error:  # as above
            raise BackendError(f"openvino failed in {self._path}: {error}", mend="try --backend onnxruntime") from error
        # One copy, made here: the request overwrites its tensors at the next window.
        return {name: np.array(found[name]) for name in self._outputs}

    def _compile(self, batch: int) -> Any:
        model = self._model if len(self._requests) == 0 else self._model.clone()
        shapes = {}
        for item in model.inputs:
            # Only the batch is settled: an input of another shape than the graph's is refused when it comes.
            shape = item.get_partial_shape()
            shape[0] = batch
            shapes[item.get_any_name()] = shape
        model.reshape(shapes)
        return self._core.compile_model(model, "CPU", self._settings).create_infer_request()
