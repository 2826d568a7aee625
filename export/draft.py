"""A bundle in the making, edition by edition."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cmc_sdk.bundle.manifest import Manifest
from cmc_sdk.bundle.precision import GateLimits, GatePass, Precision
from cmc_sdk.bundle.writer import write_bundle
from cmc_sdk.errors import BackendError
from cmc_sdk.export.editions import Edition, Material
from cmc_sdk.export.graphs import ExportedGraph
from cmc_sdk.export.parity import measure_parity
from cmc_sdk.runtime.backends.base import Backend
from cmc_sdk.runtime.backends.catalogue import REFERENCE
from cmc_sdk.runtime.session import Session

__all__ = ["Draft", "add_edition", "f32_reference"]


@dataclass(frozen=True)
class Draft:
    """A bundle in the making: what is in it so far has passed.

    Args:
        fields: Of the manifest, but graphs, gate and passes.
        graphs: Of every edition.
        gate: Limits by precision.
        passes: What kept them.
        reports: For `parity.json`, by precision.
    """

    fields: Mapping[str, object]
    graphs: tuple[ExportedGraph, ...] = ()
    gate: Mapping[str, GateLimits] = field(default_factory=dict)
    passes: tuple[GatePass, ...] = ()
    reports: Mapping[str, object] = field(default_factory=dict)

    def with_edition(self, precision: Precision, *, graphs: Sequence[ExportedGraph], limits: GateLimits) -> Draft:
        """With the graphs of one more edition, not yet passed."""
        return replace(self, graphs=(*self.graphs, *graphs), gate={**self.gate, precision: limits})

    def passed(self, precision: Precision, *, backends: Sequence[str], report: Mapping[str, object]) -> Draft:
        """With the passes of an edition and its figures."""
        passes = (GatePass(backend=backend, precision=precision) for backend in backends)
        return replace(self, passes=(*self.passes, *passes), reports={**self.reports, precision: report})

    def open(self, path: Path, *, backends: Sequence[str], precision: Precision) -> dict[str, Backend]:
        """Write it and open it with each backend: the gate runs what a device will run, through the same door."""
        self.write(path)
        return {
            name: Session(path, trust="development", backend=name, precision=precision).backend for name in backends
        }

    def write(self, path: Path, *, extra: Mapping[str, Path | bytes] | None = None) -> Manifest:
        """Write it, with its figures once there are any."""
        files: dict[str, Path | bytes] = {name: data for graph in self.graphs for name, data in graph.files.items()}
        files |= extra or {}
        if self.reports:
            files["parity.json"] = (json.dumps(self.reports, indent=1, allow_nan=False) + "\n").encode()
        entries = tuple(graph.entry for graph in self.graphs)
        fields = {**self.fields, "graphs": entries, "gate": self.gate, "passed": self.passes}
        return write_bundle(path, manifest_fields=fields, files=files)


def f32_reference(candidates: Mapping[str, Backend]) -> Backend:
    """ONNX Runtime f32, which every other precision is held against."""
    if REFERENCE not in candidates:
        raise BackendError(
            "other precisions are held against ONNX Runtime f32, which is not among the backends",
            mend="pip install onnxruntime, and let the gate run it",
        )
    return candidates[REFERENCE]


def add_edition(
    edition: Edition,
    *,
    draft: Draft,
    material: Material,
    folder: Path,
) -> Draft:
    """Make an edition and hold it against ONNX Runtime f32.

    Args:
        edition: Which.
        draft: The bundle so far.
        material: What it is made from.
        folder: For the files that the gate runs.

    Raises:
        ParityError: It does not label as f32 does; names the class and the figure.
    """
    made = edition.make(material)
    precision = edition.precision
    trial = draft.with_edition(precision, graphs=made.graphs, limits=edition.limits)
    candidates = trial.open(folder / f"{precision}.cmc", backends=edition.backends, precision=precision)
    report = measure_parity(
        material.spec,
        reference=material.reference,
        candidates={**candidates, **made.checks},
        cases=[*material.cases, material.synthetic],
        limits=edition.limits,
        progress=material.progress,
    )
    report.require()
    return trial.passed(precision, backends=edition.backends, report={**report.to_dict(), **made.report})
