"""The gate at export: the written graphs beside the network that they came from, on real, golden and stress scans."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.bundle.precision import GateLimits
from cmc_sdk.errors import InterruptError
from cmc_sdk.export.first_difference import explain_difference
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.backends.base import Backend
from cmc_sdk.runtime.backends.catalogue import CATALOGUE
from cmc_sdk.runtime.gate.case import Answer, ParityCase, Subset
from cmc_sdk.runtime.gate.probes import ComparingBackend, OutputDifference
from cmc_sdk.runtime.gate.reference import BackendReference
from cmc_sdk.runtime.gate.run import ParityReport, run_gate
from cmc_sdk.runtime.gate.stress import stress_cases
from cmc_sdk.runtime.host.packages import installed_version
from cmc_sdk.runtime.segmenter import Segmenter

__all__ = ["ParityCase", "ParityReport", "compare_outputs", "measure_parity"]


def measure_parity(
    spec: ModelSpec,
    *,
    reference: Backend | BackendReference,
    candidates: Mapping[str, Backend],
    cases: Sequence[ParityCase],
    limits: GateLimits,
    keep: Callable[[ParityCase, Subset, Answer], None] | None = None,
    progress: Progress | None = None,
) -> ParityReport:
    """Run the gate on `cases` and on the stress scans, and compare every output of every graph on a few windows.

    The trained network is the reference of the f32 graphs; ONNX Runtime on those is the reference of all others.

    Args:
        spec: Of the network.
        reference: A backend, or a `BackendReference` that has labelled the cases before.
        candidates: The written graphs, by backend.
        cases: Real and golden ones; each is run with all of its modalities, and with each alone.
        limits: Of every case and modality by itself.
        keep: Called with the reference's answer on each case and subset.
        progress: Called with ("parity", done, total).
    """
    if not isinstance(reference, BackendReference):
        reference = BackendReference(spec, reference, name=_title(reference))
    every = [*cases, *stress_cases(spec)]
    report = run_gate(
        spec,
        reference=reference,
        candidates=candidates,
        cases=every,
        limits=limits,
        versions={name: installed_version(backend.name) for name, backend in candidates.items()},
        keep=keep,
        progress=progress,
    )
    report = dataclasses.replace(report, outputs=compare_outputs(reference, candidates=candidates, cases=cases))
    if report:
        return report
    return dataclasses.replace(report, notes=explain_difference(report, reference, candidates=candidates, cases=every))


def compare_outputs(
    reference: BackendReference, *, candidates: Mapping[str, Backend], cases: Sequence[ParityCase]
) -> dict[tuple[str, str, str], OutputDifference]:
    """Differences of every graph's outputs, by (backend, graph, output), on the first windows of the first cases."""
    spec = reference.spec
    found: dict[tuple[str, str, str], OutputDifference] = {}
    left = set(spec.names)
    for case in cases:
        present = [name for name in spec.names if name in case.images]
        if not left & set(present):
            continue
        comparing = ComparingBackend(reference.backend, candidates, differences=found)
        images = {name: case.images[name] for name in present}
        with contextlib.suppress(InterruptError):
            Segmenter(spec, comparing).infer(images, pairing=case.pairing, cancel=comparing.is_done)
        left -= set(present)
    return found


def _title(backend: Backend) -> str:
    # A backend that is none of the catalogue's is the trained network, as one version of its library computes it.
    own = None if backend.name in CATALOGUE else installed_version(backend.name)
    return f"{backend.name} {own or backend.precision}"
