"""ONNX Runtime, on the CPU or with its CUDA and TensorRT providers, FP32 or a mixed-precision FP16 graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmc_sdk.bundle.precision import Precision
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.errors import BackendError
from cmc_sdk.runtime.backends.base import Array
from cmc_sdk.runtime.backends.graphs import CompiledGraph, GraphBackend, GraphFile
from cmc_sdk.runtime.backends.providers import ProviderName, open_session

__all__ = ["OnnxRuntimeBackend"]


class OnnxRuntimeBackend(GraphBackend):
    """Runs a bundle's graphs with one of ONNX Runtime's providers.

    Args:
        provider: `onnxruntime` computes on the CPU, `onnxruntime-cuda` and `onnxruntime-tensorrt` on a GPU with the
            package onnxruntime-gpu.

    Raises:
        BackendError: The package or the provider is not there, or refuses a graph; a provider that would silently
            leave the work to the CPU is refused too.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        provider: ProviderName = "onnxruntime",
        precision: Precision = "f32",
        threads: int | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(bundle, precision=precision, threads=threads, reason=reason)
        self.name: ProviderName = provider

    def compile_graph(self, file: GraphFile) -> CompiledGraph:
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
            session = open_session(self.name, file.data, options=options)
        except Exception as error:  # the library's own exceptions share no base class but this one
            mend = "try --backend openvino" if self.name == "onnxruntime" else "`cmc doctor` says what is missing"
            raise BackendError(f"{self.name} cannot load {file.graph.path}: {error}", mend=mend) from error
        return _Session(session, path=file.graph.path, name=self.name)


class _Session:
    def __init__(self, session: Any, *, path: str, name: str) -> None:
        self._session = session
        self._path = path
        self._name = name
        self._outputs = [item.name for item in session.get_outputs()]

    def prepare(self, batch: int) -> None:
        """Nothing: the session was made ready for every batch."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            arrays = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # as above
            raise BackendError(
                f"{self._name} failed in {self._path}: {error}", mend="try --backend openvino"
            ) from error
        return dict(zip(self._outputs, arrays, strict=True))
