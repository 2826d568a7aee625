"""TensorRT on an NVIDIA device: engines from a state folder, loaded only if nothing has changed since they were proved.

Not run on a device yet: the tests run it against stand-ins for driver and library, and those marked `gpu` wait for a
device. docs/hardware.md says what has run where.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.bundle.precision import Precision
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.errors import BackendError
from cmc_sdk.runtime.backends.graphs import CompiledGraph, GraphBackend, GraphFile, find_graph
from cmc_sdk.runtime.backends.tensorrt.cuda import Cuda
from cmc_sdk.runtime.backends.tensorrt.driver import Device, device_key, require_device
from cmc_sdk.runtime.backends.tensorrt.engines import engine_graphs, engine_key
from cmc_sdk.runtime.backends.tensorrt.execution import LoadedEngine
from cmc_sdk.runtime.backends.tensorrt.flavour import Flavour, find_flavours, load_flavour
from cmc_sdk.runtime.backends.tensorrt.state import StateFolder
from cmc_sdk.runtime.backends.tensorrt.store import EngineRecord, EngineStore

__all__ = ["TensorRtBackend"]


class TensorRtBackend(GraphBackend):
    """Runs the engines of a bundle's graphs.

    Args:
        bundle: Opened.
        state: The state folder with its engines.
        precision: `f32` or `fp16`.
        threads: Of the core; TensorRT runs on the device.
        reason: Why this backend and precision were chosen, for the record.
        proving: True: for `cmc verify`, which must run what has not passed yet.

    Raises:
        BackendError: No driver or device, no TensorRT, no engine of this graph for it, or not verified on it.
        InputError: The state folder, or an engine in it, is refused.
    """

    name = "tensorrt"

    def __init__(
        self,
        bundle: Bundle,
        *,
        state: str | os.PathLike[str],
        precision: Precision = "f32",
        threads: int | None = None,
        reason: str | None = None,
        proving: bool = False,
    ) -> None:
        super().__init__(bundle, precision=precision, threads=threads, reason=reason)
        # Asked first: without a driver TensorRT's own runtime ends the process.
        self.device: Device = require_device()
        if precision not in ("f32", "fp16"):
            raise BackendError(f"tensorrt does not compute in {precision}", mend="give --precision f32 or fp16")
        self.graphs = engine_graphs(bundle, precision)
        self._state = state
        with StateFolder(state) as folder:
            store = EngineStore(folder)
            self._flavour, self._records = self._choose(store)
            if not proving:
                store.require_verified(
                    manifest_sha256=bundle.manifest_sha256,
                    precision=precision,
                    engines=self.engines,
                    device=device_key(self.device),
                )
        self._cuda = Cuda(self.device.index)

    @property
    def engines(self) -> list[str]:
        """sha256 of every engine that it runs, sorted."""
        return sorted(record.sha256 for record in self._records.values())

    def prepare(self, modalities: Sequence[str], *, batch: int) -> None:
        """As `Backend.prepare`; one after the other, since they share one device."""
        for part in ("encoder", "decoder"):
            for name in modalities:
                graph = find_graph(self.bundle.manifest, part=part, modality=name, precision=self.precision)
                self._ready(graph).prepare(batch)

    def open_graph(self, graph: Graph, *, file: GraphFile | None = None) -> CompiledGraph:
        """The engine of a graph, whose record was found when the backend was opened; the ONNX file is not read."""
        with StateFolder(self._state) as folder:
            engine = EngineStore(folder).load(self._records[graph.path])
        return LoadedEngine(engine, record=self._records[graph.path], flavour=self._flavour, cuda=self._cuda)

    def _choose(self, store: EngineStore) -> tuple[Flavour, dict[str, EngineRecord]]:
        """The first flavour that has an engine of every graph for this device, and those engines."""
        missing: list[str] = []
        for item in find_flavours():
            if item.version is None or item.note:
                continue
            flavour = load_flavour(item.name)
            found: dict[str, EngineRecord] = {}
            for graph in self.graphs:
                key = engine_key(self.bundle, graph, flavour=flavour, capabilities=(self.device.capability,))
                record = store.find(key)
                if record is None:
                    changes = ", ".join(store.nearest(key)) or f"none is built for {self.device.capability}"
                    missing.append(f"{graph.path}, {item.name} {flavour.version}: {changes}")
                    break
                found[graph.path] = record
            else:
                return flavour, found
        if not missing:
            raise BackendError("no TensorRT is installed here", mend="install it (docs/engines.md); or a CPU backend")
        raise BackendError(
            f"{store.folder.path} holds no engines for this device: {'; '.join(missing)}",
            mend=f"run `cmc engine build BUNDLE --state {store.folder.path}` here",
        )
