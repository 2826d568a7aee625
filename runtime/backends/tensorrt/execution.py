"""One loaded engine: its profiles, its device memory, and windows through it.

Not run on a device yet. Its order of calls is that of NVIDIA's documented interface, the same in `tensorrt` 10.3, 11
and `tensorrt_rtx`; a stand-in for driver and library runs it in the tests.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from cmc_sdk.errors import BackendError
from cmc_sdk.runtime.backends.base import Array
from cmc_sdk.runtime.backends.tensorrt.cuda import Buffer, Cuda
from cmc_sdk.runtime.backends.tensorrt.flavour import Flavour
from cmc_sdk.runtime.backends.tensorrt.store import EngineRecord
from cmc_sdk.runtime.backends.tensorrt.typecheck import check_engine

__all__ = ["LoadedEngine", "library_log"]


class LoadedEngine:
    """An engine on the device, ready for every batch of its profiles; safe to call from several threads, in turn.

    Args:
        engine: Its bytes, as the store gave them.
        record: Its record.
        flavour: The very flavour and version of the record.
        cuda: The device.

    Raises:
        BackendError: The library refuses it, or its layers do not compute in what the record says.
    """

    def __init__(self, engine: bytes, *, record: EngineRecord, flavour: Flavour, cuda: Cuda) -> None:
        self._record, self._cuda = record, cuda
        self._lock = threading.Lock()
        self._buffers: dict[str, Buffer] = {}
        self._contexts: dict[int, Any] = {}
        trt = flavour.module
        cuda.use()
        # The library wants its log and its runtime to live as long as the engine.
        self._log = library_log(trt)
        self._runtime = trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise BackendError(
                f"{flavour.name} {flavour.version} refuses the engine of {record.graph}: {self._log.last_error}",
                mend="build it again on this machine",
            )
        information = self._engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
        check_engine(information, precision=record.key.precision, half_nodes=record.half_nodes, path=record.graph)
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        self._inputs = [name for name in names if modes[name] == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if modes[name] == trt.TensorIOMode.OUTPUT]
        for name in names:
            if self._engine.get_tensor_dtype(name) != trt.DataType.FLOAT:
                raise BackendError(
                    f"the engine of {record.graph} takes or gives {name} in another type than float32",
                    mend="export the bundle again: graphs have float32 at their border in every precision",
                )

    def prepare(self, batch: int) -> None:
        """Make what a batch of this size needs on the device, before it comes.

        Raises:
            BackendError: No profile for it, or no memory left on the device.
        """
        with self._lock:
            self._cuda.use()
            self._context(batch)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name from inputs by name, all f32 with the batch first.

        Raises:
            BackendError: No profile for this batch, inputs of another shape, or a failure on the device.
            ResourceError: The device has not enough memory.
        """
        with self._lock:
            self._cuda.use()
            context = self._context(len(next(iter(inputs.values()))))
            for name in self._inputs:
                array = np.ascontiguousarray(inputs[name], np.float32)
                if not context.set_input_shape(name, array.shape):
                    raise BackendError(
                        f"the engine of {self._record.graph} takes no {name} of shape {array.shape}",
                        mend="give windows of the bundle's own size",
                    )
                self._cuda.copy_in(self._address(context, name, array.nbytes), array)
            shapes = {name: tuple(context.get_tensor_shape(name)) for name in self._outputs}
            for name, shape in shapes.items():
                self._address(context, name, 4 * int(np.prod(shape)))
            if not context.execute_async_v3(self._cuda.stream):
                raise BackendError(
                    f"the engine of {self._record.graph} failed: {self._log.last_error}", mend="run `cmc verify` here"
                )
            found = {name: self._cuda.copy_out(self._buffers[name].address, shape) for name, shape in shapes.items()}
            self._cuda.wait()
        return found

    def _context(self, batch: int) -> Any:
        """Of the smallest profile that takes the batch; each has its own, so that shapes are settled once."""
        profiles = self._record.key.profiles
        index = next((place for place, item in enumerate(profiles) if item.least <= batch <= item.most), None)
        if index is None:
            raise BackendError(
                f"the engine of {self._record.graph} has no profile for {batch} windows at once",
                mend=f"run at most {max(item.most for item in profiles)}",
            )
        if index not in self._contexts:
            context = self._engine.create_execution_context()
            if context is None or not context.set_optimization_profile_async(index, self._cuda.stream):
                raise BackendError(
                    f"the engine of {self._record.graph} makes no context: {self._log.last_error}",
                    mend="close other programs on the device: it may have no memory left",
                )
            self._contexts[index] = context
        return self._contexts[index]

    def _address(self, context: Any, name: str, size: int) -> int:
        """The address of a buffer of at least that size, told to the context."""
        if name not in self._buffers or self._buffers[name].size < size:
            if name in self._buffers:
                self._buffers.pop(name).close()
            self._buffers[name] = Buffer(self._cuda, size)
        address = self._buffers[name].address
        context.set_tensor_address(name, address)
        return address


def library_log(trt: Any) -> Any:
    """A logger that prints nothing and keeps the last error."""

    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps the last error."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = "it does not say why"

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.last_error = message

    return Log()
