"""ONNX Runtime on the CPU, FP32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.errors import BackendError
from cmc_sdk.runtime.backends.graphs import CompiledGraph, GraphBackend
from cmc_sdk.runtime.backends.protocol import Array

__all__ = ["OnnxRuntimeBackend"]


class OnnxRuntimeBackend(GraphBackend):
    """Runs a bundle's graphs with ONNX Runtime's CPU provider.

    Raises:
        BackendError: onnxruntime is not installed, or refuses a graph.
    """

    name = "onnxruntime"

    def compile_graph(self, data: bytes, graph: Graph) -> CompiledGraph:
        """Make an inference session from the verified buffer."""
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendError("onnxruntime is not installed", mend="pip install 'cmc-sdk[cpu]'") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if self.threads is not None:
            options.intra_op_num_threads = self.threads
        try:
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's own exceptions share no base class but this one
            raise BackendError(
                f"onnxruntime cannot load {graph.path}: {error}", mend="try --backend openvino"
            ) from error
        return _Session(session, path=graph.path)


class _Session:
    def __init__(self, session: Any, *, path: str) -> None:
        self._session = session
        self._path = path
        self._outputs = [item.name for item in session.get_outputs()]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            arrays = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # as above
            raise BackendError(f"onnxruntime failed in {self._path}: {error}", mend="try --backend openvino") from error
        return dict(zip(self._outputs, arrays, strict=True))
