"""The graphs of a bundle as a backend sees them: verified bytes by part and modality, and which inputs each takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from cmc_sdk.bundle.manifest import Graph, Manifest
from cmc_sdk.bundle.precision import GRAPHS_OF, Precision
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.errors import BundleError
from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs
from cmc_sdk.runtime.onnx.external import refuse_external_data
from cmc_sdk.threads import usable_threads

__all__ = ["CompiledGraph", "GraphBackend", "GraphFile", "find_graph", "read_graph"]


# Graphs are compiled beside each other where all but the largest come to no more bytes than this: more fill memory.
_SMALL_BYTES = 256 << 20


class CompiledGraph(Protocol):
    """A graph that is ready to run."""

    def prepare(self, batch: int) -> None:
        """Do now what the first run of a batch of this size would have to do."""
        ...

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name from inputs by name, all f32 with the batch first."""
        ...


@dataclass(frozen=True)
class GraphFile:
    """One graph, read and checked.

    Args:
        graph: What the manifest says of it.
        data: The graph's verified bytes.
        weights: Verified bytes of its weights where they lie in a file of their own (OpenVINO's format).
    """

    graph: Graph
    data: bytes
    weights: bytes | None = None


def find_graph(manifest: Manifest, *, part: str, modality: str, precision: Precision = "f32") -> Graph:
    """The graph from which one part of one modality is computed in `precision`.

    Raises:
        BundleError: The bundle has none.
    """
    folder = GRAPHS_OF[precision]
    for graph in manifest.graphs:
        if (graph.part, graph.modality, graph.precision) == (part, modality, folder):
            return graph
    raise BundleError(f"the bundle has no {folder} {part} of {modality!r}", mend="export it again")


def read_graph(bundle: Bundle, graph: Graph) -> GraphFile:
    """Read one graph once, with its weights; what is returned is what was hashed.

    Raises:
        BundleError: A file is not the listed one, or the graph keeps weights where the manifest does not say.
    """
    data = bundle.read(graph.path)
    if graph.weights is not None:
        if not data.lstrip().startswith(b"<?xml"):
            # A library tells formats apart by content: an ONNX file here would not be looked through.
            message = f"{bundle.path}: {graph.path} has weights beside it but is not OpenVINO's format"
            raise BundleError(message, mend="export the bundle again")
        return GraphFile(graph, data, bundle.read(graph.weights))
    refuse_external_data(data, name=f"{bundle.path}: {graph.path}")
    return GraphFile(graph, data)


class GraphBackend(Backend):
    """A backend over compiled graphs; a subclass says how the verified bytes of one become a `CompiledGraph`.

    Graphs are compiled when they are first needed, so that a run with one modality pays for that one only.

    Args:
        bundle: Opened; each graph is read once, checked, and compiled from that buffer.
        precision: That it is to compute in; decides which graphs are read.
        threads: Threads of the inference library; None for its own choice.
        reason: Why this backend and precision were chosen, for the record.
    """

    name = "graphs"

    def __init__(
        self, bundle: Bundle, *, precision: Precision = "f32", threads: int | None = None, reason: str | None = None
    ) -> None:
        self.bundle = bundle
        self.precision: Precision = precision
        self.threads = threads
        self.reason = reason
        self.modalities: tuple[str, ...] = bundle.manifest.spec.names
        self._read_seconds = 0.0
        self._slots: dict[str, _Slot] = {}
        self._lock = threading.Lock()

    def compile_graph(self, file: GraphFile) -> CompiledGraph:
        """Turn the verified bytes of a graph into something that runs."""
        raise NotImplementedError

    def prepare(self, modalities: Sequence[str], *, batch: int) -> None:
        """As `Backend.prepare`."""
        graphs = [
            find_graph(self.bundle.manifest, part=part, modality=name, precision=self.precision)
            for part in ("encoder", "decoder")
            for name in modalities
        ]
        sizes = {entry.path: entry.size for entry in self.bundle.manifest.files}
        by_graph = [sizes[graph.weights or graph.path] for graph in graphs]
        if sum(by_graph) - max(by_graph) > _SMALL_BYTES:
            for graph in graphs:
                self._ready(graph).prepare(batch)
            return
        files = {graph.path: self._read(graph) for graph in graphs if graph.path not in self._slots}
        with ThreadPoolExecutor(self.threads or usable_threads(), thread_name_prefix="cmc-compile") as pool:
            for _ in pool.map(lambda graph: self._ready(graph, file=files.get(graph.path)).prepare(batch), graphs):
                pass

    def open_graph(self, graph: Graph, *, file: GraphFile | None = None) -> CompiledGraph:
        """Make one graph run; `file` where it has been read already."""
        return self.compile_graph(file or self._read(graph))

    @property
    def read_seconds(self) -> float:
        """As `Backend.read_seconds`."""
        return self._read_seconds

    def graph_content(self, part: str, modality: str) -> bytes | None:
        """As `Backend.graph_content`, verified; None where the graph is of OpenVINO's format."""
        graph = find_graph(self.bundle.manifest, part=part, modality=modality, precision=self.precision)
        return read_graph(self.bundle, graph).data if graph.weights is None else None

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As `Backend.encode`."""
        return self._run("encoder", modality, {"window": window})

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        """As `Backend.decode`."""
        return self._run("decoder", modality, inputs.named())["logits"]

    def _run(self, part: str, modality: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        graph = find_graph(self.bundle.manifest, part=part, modality=modality, precision=self.precision)
        # A graph takes only the inputs that it needs: those of an exported network without MIA of a partner are fewer.
        wanted = {item.name: np.ascontiguousarray(inputs[item.name], np.float32) for item in graph.inputs}
        return self._ready(graph).run(wanted)

    def _ready(self, graph: Graph, *, file: GraphFile | None = None) -> CompiledGraph:
        """The graph, compiled once, whichever stream comes first; different graphs do not wait for each other."""
        with self._lock:
            slot = self._slots.setdefault(graph.path, _Slot())
        with slot.lock:
            if slot.compiled is None:
                slot.compiled = self.open_graph(graph, file=file)
            return slot.compiled

    def _read(self, graph: Graph) -> GraphFile:
        start = time.perf_counter()
        file = read_graph(self.bundle, graph)
        with self._lock:
            self._read_seconds += time.perf_counter() - start
        return file


@dataclass
class _Slot:
    compiled: CompiledGraph | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
