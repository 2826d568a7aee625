"""The gate: the written graphs and the trained network must give the same labels, whole path, on real scans."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.bundle.precision import GateLimits
from cmc_sdk.errors import BackendError, ParityError
from cmc_sdk.export.probes import ComparingBackend, OutputDifference, ScanningBackend
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.agreement import Agreement, compare_labels
from cmc_sdk.runtime.backends.protocol import Backend
from cmc_sdk.runtime.plan import Pairing
from cmc_sdk.runtime.segmenter import Result, Segmenter

__all__ = ["ParityCase", "ParityReport", "ParityRun", "measure_parity", "subsets_of"]


_Key = tuple[bool, str, tuple[str, ...], str]
"""Synthetic or real, backend, subset, modality."""


@dataclass(frozen=True)
class ParityCase:
    """One scan of the gate.

    Args:
        name: For tables.
        images: By modality.
        pairing: How they are labelled together.
        synthetic: Whether nobody ever had it; real and synthetic scans are not pooled.
        undecided: By subset of modalities and modality, (X, Y, Z), voxels whose labels are not compared.
    """

    name: str
    images: Mapping[str, Volume]
    pairing: Pairing
    synthetic: bool = False
    undecided: Mapping[tuple[str, ...], Mapping[str, npt.NDArray[np.bool_]]] = field(default_factory=dict)


@dataclass(frozen=True)
class ParityRun:
    """Torch against one backend on one modality, with one subset present, real cases pooled or the synthetic one."""

    backend: str
    present: tuple[str, ...]
    modality: str
    cases: tuple[str, ...]
    agreement: Agreement
    faults: tuple[str, ...]


@dataclass(frozen=True)
class ParityReport:
    """What `measure_parity` found; true if everything is within the limits.

    Args:
        runs: Label maps, pooled over cases.
        outputs: Differences of each graph's outputs, by (backend, graph, output).
        not_finite: NaN and infinite values by (backend, graph, output), over every window of every case.
        precision: By backend.
    """

    limits: GateLimits
    precision: Mapping[str, str]
    runs: tuple[ParityRun, ...]
    outputs: Mapping[tuple[str, str, str], OutputDifference]
    not_finite: Mapping[tuple[str, str, str], int]

    def __bool__(self) -> bool:
        return not self.faults

    @property
    def faults(self) -> list[str]:
        """What breaks the limits, one line each."""
        found = [
            f"{backend}: {count} values of {output} of {graph} are not finite"
            for (backend, graph, output), count in self.not_finite.items()
        ]
        for run in self.runs:
            place = f"{run.backend}, {run.modality} with {' + '.join(run.present)}"
            found += [f"{place}: {fault}" for fault in run.faults]
        return found

    @property
    def foreground_vox(self) -> int:
        """Foreground voxels that were compared; 0 means that the network found nothing anywhere."""
        return sum(run.agreement.foreground_vox for run in self.runs)

    def require(self) -> None:
        """Refuse a bundle that is not what was trained.

        Raises:
            ParityError: Something breaks the limits; names the class and the figure.
        """
        if self.faults:
            more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
            raise ParityError(
                f"the exported graphs do not label as the trained network does: {self.faults[0]}{more}",
                mend="export with the pinned torch, onnxscript and backends (constraints.txt); `cmc doctor` lists them",
            )

    def to_dict(self) -> dict[str, Any]:
        """The contents of `parity.json`."""
        return {
            "precision": "f32",
            "passed": bool(self),
            "limits": self.limits.model_dump(),
            "reference": f"torch {version('torch')}",
            "backends": {
                name: {"precision": value, "version": version(name)} for name, value in self.precision.items()
            },
            "machine": platform.machine(),
            "runs": [
                {
                    "backend": run.backend,
                    "present": list(run.present),
                    "modality": run.modality,
                    "cases": list(run.cases),
                    **run.agreement.to_dict(),
                }
                for run in self.runs
            ],
            "outputs": [
                {"backend": backend, "graph": graph, "output": output, **difference.to_dict()}
                for (backend, graph, output), difference in self.outputs.items()
            ],
        }


def subsets_of(names: Sequence[str]) -> list[tuple[str, ...]]:
    """All modalities together, then each alone: the subsets that the gate runs."""
    alone = [(name,) for name in names]
    return [tuple(names), *alone] if len(names) > 1 else alone


def measure_parity(
    spec: ModelSpec,
    *,
    reference: Backend,
    candidates: Mapping[str, Backend],
    cases: Sequence[ParityCase],
    limits: GateLimits,
    keep: Callable[[ParityCase, tuple[str, ...], Result], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> ParityReport:
    """Label every case with the reference and with each candidate, through the same `Segmenter`, and compare.

    Args:
        spec: Of the network.
        reference: The trained network: `TorchBackend`.
        candidates: The written graphs, by backend.
        cases: Each is run with all of its modalities, and with each alone.
        limits: Per-class Dice and flips, per backend, subset and modality, pooled over real cases.
        keep: Called with the reference's result of each case and subset.
        progress: Called with ("parity", done, total).
    """
    comparing = ComparingBackend(reference, candidates)
    scanning = {name: ScanningBackend(backend) for name, backend in candidates.items()}
    todo = [(case, present) for case in cases for present in subsets_of([n for n in spec.names if n in case.images])]
    pooled: dict[_Key, tuple[Agreement, tuple[str, ...]]] = {}
    for index, (case, present) in enumerate(todo):
        images = {name: case.images[name] for name in present}
        expected = Segmenter(spec, comparing).infer(images, pairing=case.pairing)
        if keep is not None:
            keep(case, present, expected)
        for backend, scanned in scanning.items():
            try:
                given = Segmenter(spec, scanned).infer(images, pairing=case.pairing)
            except BackendError:
                if scanned.not_finite:  # The segmenter stops at such logits; the report names the graph and the count.
                    continue
                raise
            for modality in present:
                undecided = case.undecided.get(present, {}).get(modality)
                agreement = _compare(expected, given, modality=modality, spec=spec, undecided=undecided)
                key = (case.synthetic, backend, present, modality)
                former = pooled.get(key)
                pooled[key] = (former[0] + agreement, (*former[1], case.name)) if former else (agreement, (case.name,))
        if progress is not None:
            progress("parity", index + 1, len(todo))
    ranked = sorted(pooled.items(), key=lambda item: item[0][0])  # Real scans first.
    return ParityReport(
        limits=limits,
        precision={name: backend.precision for name, backend in candidates.items()},
        runs=tuple(
            ParityRun(backend, present, modality, names, agreement, tuple(agreement.faults(limits)))
            for (_, backend, present, modality), (agreement, names) in ranked
        ),
        outputs=comparing.differences,
        not_finite={
            (backend, graph, output): count
            for backend, scanned in scanning.items()
            for (graph, output), count in scanned.not_finite.items()
        },
    )


def _compare(
    expected: Result,
    given: Result,
    *,
    modality: str,
    spec: ModelSpec,
    undecided: npt.NDArray[np.bool_] | None,
) -> Agreement:
    return compare_labels(
        expected.labels[modality].stored,
        given.labels[modality].stored,
        classes=spec.classes.names,
        reference_confidence=expected.confidence[modality].stored,
        candidate_confidence=given.confidence[modality].stored,
        undecided=undecided,
    )
