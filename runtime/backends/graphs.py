"""The graphs of a bundle as a backend sees them: verified bytes by part and modality, and which inputs each takes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from cmc_sdk.bundle.manifest import Graph, Manifest
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.errors import BundleError
from cmc_sdk.runtime.backends.onnx_file import refuse_external_data
from cmc_sdk.runtime.backends.protocol import Array

__all__ = ["CompiledGraph", "GraphBackend", "find_graph"]


class CompiledGraph(Protocol):
    """A graph that is ready to run."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name from inputs by name, all f32 with the batch first."""
        ...


def find_graph(manifest: Manifest, *, part: str, modality: str) -> Graph:
    """The f32 graph of one part of one modality.

    Raises:
        BundleError: The bundle has none.
    """
    for graph in manifest.graphs:
        if (graph.part, graph.modality, graph.precision) == (part, modality, "f32"):
            return graph
    raise BundleError(f"the bundle has no f32 {part} of {modality!r}", mend="export it again")


class GraphBackend:
    """A backend over compiled graphs; a subclass says how the verified bytes of one become a `CompiledGraph`.

    Graphs are compiled when they are first needed, so that a run with one modality pays for that one only.

    Args:
        bundle: Opened; each graph is read once, checked, and compiled from that buffer.
        threads: Threads of the inference library; None for its own choice.
    """

    name = "graphs"
    precision = "f32"

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        self._bundle = bundle
        self.threads = threads
        self.modalities: tuple[str, ...] = bundle.manifest.spec.names
        self._compiled: dict[str, CompiledGraph] = {}
        self._lock = threading.Lock()

    def compile_graph(self, data: bytes, graph: Graph) -> CompiledGraph:
        """Turn the verified bytes of an ONNX file into something that runs."""
        raise NotImplementedError

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As `Backend.encode`."""
        return self._run("encoder", modality, {"window": window})

    def decode(
        self,
        modality: str,
        *,
        features: Mapping[str, Array],
        presence: Array,
        encoded: Mapping[str, Array],
        window: Array,
    ) -> Array:
        """As `Backend.decode`."""
        inputs: dict[str, Array] = {f"features_{name}": array for name, array in features.items()}
        inputs.update({name: array for name, array in encoded.items() if name != "features"})
        inputs.update(presence=presence, window=window)
        return self._run("decoder", modality, inputs)["logits"]

    def _run(self, part: str, modality: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        graph = find_graph(self._bundle.manifest, part=part, modality=modality)
        with self._lock:  # streams run graphs at once
            if graph.path not in self._compiled:
                data = self._bundle.read(graph.path)
                refuse_external_data(data, name=f"{self._bundle.path}: {graph.path}")
                self._compiled[graph.path] = self.compile_graph(data, graph)
        # A graph takes only the inputs that it needs: those of an exported network without MIA of a partner are fewer.
        wanted = {item.name: np.ascontiguousarray(inputs[item.name], np.float32) for item in graph.inputs}
        return self._compiled[graph.path].run(wanted)
