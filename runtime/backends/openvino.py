"""OpenVINO on the CPU in FP32, bf16 or int8, without its telemetry."""

from __future__ import annotations

import contextlib
import importlib
import io
import queue
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cmc_sdk.bundle.precision import Precision
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.environment import instruction_limit
from cmc_sdk.errors import BackendError
from cmc_sdk.runtime.backends.base import Array
from cmc_sdk.runtime.backends.graphs import CompiledGraph, GraphBackend, GraphFile
from cmc_sdk.threads import usable_threads

__all__ = ["OpenVinoBackend", "computes_bf16", "import_openvino"]


_IMPORTING = threading.Lock()


def import_openvino() -> Any:
    """Import openvino so that it cannot report home.

    Importing it sends an event to a vendor's server and writes an id to the home folder through the package
    `openvino_telemetry`; where that package cannot be imported it uses a stub of its own that does nothing.

    Raises:
        ImportError: openvino is not installed.
    """
    with _IMPORTING:
        first = "openvino" not in sys.modules
        if first:
            sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
            # The converter of other formats takes as long to import as all the rest; whoever calls it gets it then.
            sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            if first:
                del sys.modules["openvino.tools.ovc"]
        if first:
            openvino.convert_model = _convert_model
    # The binding looks numpy up when it first makes an array. Two streams that do so at once wait for each other for
    # ever (one holds the lookup, the other the interpreter): seen in 5 of 62 processes, in none after this line.
    _ = openvino.Tensor(np.zeros(1, np.float32)).data
    return openvino


MOST_STREAMS = 2
"""Measured on two cores: two windows at once, a thread each, take a quarter less time; each stream holds a window."""


def _convert_model(*arguments: Any, **options: Any) -> Any:
    return importlib.import_module("openvino.tools.ovc").convert_model(*arguments, **options)


def computes_bf16() -> bool:
    """Whether this processor multiplies bf16 numbers; where it does not, OpenVINO would compute in FP32 and not say so.

    Raises:
        ImportError: openvino is not installed.
    """
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoBackend(GraphBackend):
    """Runs a bundle's graphs with OpenVINO's CPU plug-in: `f32` and `bf16` from the f32 graphs, `int8` from its own.

    What stands in FP32 in an int8 graph is computed in FP32. `Int8Backend` runs those where windows may be of any kind.

    Raises:
        BackendError: openvino is not installed, or refuses a graph; bf16 on a processor without it.
    """

    name = "openvino"

    def __init__(
        self, bundle: Bundle, *, precision: Precision = "f32", threads: int | None = None, reason: str | None = None
    ) -> None:
        limit = instruction_limit()
        if limit is not None:
            reason = f"{reason or 'chosen by name'}; instructions up to {limit}"
        super().__init__(bundle, precision=precision, threads=threads, reason=reason)
        self._streams = 1
        self._models: list[_Model] = []

    @property
    def best_streams(self) -> int:
        """Two, each on half of the threads: layers too small to share among threads then run beside each other."""
        return min(MOST_STREAMS, self.threads or usable_threads())

    def set_streams(self, count: int) -> None:
        """As `Backend.set_streams`."""
        if count != self._streams:
            self._streams = count
            for model in self._models:
                model.set_streams(count)

    def prepare(self, modalities: Sequence[str], *, batch: int) -> None:
        """As `Backend.prepare`."""
        with contextlib.suppress(ImportError):  # which is told where a graph is compiled
            import_openvino()
        super().prepare(modalities, batch=batch)

    def compile_graph(self, file: GraphFile) -> CompiledGraph:
        """Read the verified buffer; it is compiled for each batch size when that size first comes."""
        try:
            core = import_openvino().Core()
        except ImportError as error:
            raise BackendError("openvino is not installed", mend="pip install 'cmc-sdk[cpu]'") from error
        if self.precision == "bf16" and not computes_bf16():
            raise BackendError("this processor does not compute in bf16", mend="give --precision f32 or fastest")
        # Without a hint OpenVINO computes in bf16 on processors that have it.
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
            "EXECUTION_MODE_HINT": "ACCURACY",
            # Each graph would bind its streams to the first cores: one window's encoder and another's decoder then
            # share a core while the next one idles. Six per cent of a case on two cores.
            "ENABLE_CPU_PINNING": False,
        }
        if self.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = self.threads
        model = _Model(core, file, settings=settings, streams=self._streams)
        self._models.append(model)
        return model


class _Model:
    """One graph, compiled once per batch size: fixed shapes are faster than a dynamic batch."""

    def __init__(self, core: Any, file: GraphFile, *, settings: Mapping[str, Any], streams: int) -> None:
        self._core, self._path, self._settings, self._streams = core, file.graph.path, dict(settings), streams
        try:
            if file.weights is None:
                self._model = core.read_model(io.BytesIO(file.data))
            else:
                self._model = core.read_model(model=file.data, weights=file.weights)
        except Exception as error:  # the library raises RuntimeError and its own
            raise BackendError(
                f"openvino cannot read {self._path}: {error}", mend="try --backend onnxruntime"
            ) from error
        self._outputs = [output.get_any_name() for output in self._model.outputs]
        self._requests: dict[int, queue.SimpleQueue[Any]] = {}
        self._lock = threading.Lock()

    def set_streams(self, count: int) -> None:
        with self._lock:
            self._streams = count
            self._requests.clear()

    def prepare(self, batch: int) -> None:
        try:
            self._free(batch)
        except Exception as error:  # as above
            raise BackendError(f"openvino failed in {self._path}: {error}", mend="try --backend onnxruntime") from error

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        batch = len(next(iter(inputs.values())))
        try:
            free = self._free(batch)
            request = free.get()
            try:
                found = request.infer(dict(inputs), share_inputs=True, share_outputs=True)
                # One copy, made here: the request overwrites its tensors at the next window.
                return {name: np.array(found[name]) for name in self._outputs}
            finally:
                free.put(request)
        except Exception as error:  # as above
            raise BackendError(f"openvino failed in {self._path}: {error}", mend="try --backend onnxruntime") from error

    def _free(self, batch: int) -> queue.SimpleQueue[Any]:
        with self._lock:
            if batch not in self._requests:
                self._requests[batch] = self._compile(batch)
            return self._requests[batch]

    def _compile(self, batch: int) -> queue.SimpleQueue[Any]:
        model = self._model if len(self._requests) == 0 else self._model.clone()
        shapes = {}
        for item in model.inputs:
            # Only the batch is settled: an input of another shape than the graph's is refused when it comes.
            shape = item.get_partial_shape()
            shape[0] = batch
            shapes[item.get_any_name()] = shape
        model.reshape(shapes)
        compiled = self._core.compile_model(model, "CPU", {**self._settings, "NUM_STREAMS": self._streams})
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self._streams):
            requests.put(compiled.create_infer_request())
        return requests
