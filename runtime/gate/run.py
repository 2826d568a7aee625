"""The gate: does a backend label as the reference does, through the whole path, in every class and everywhere?"""

from __future__ import annotations

import functools
import operator
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.bundle.precision import GateLimits
from cmc_sdk.errors import ParityError
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.backends.base import Backend
from cmc_sdk.runtime.gate.agreement import CONFIDENCE_STEPS, Agreement, compare_labels
from cmc_sdk.runtime.gate.case import Answer, CaseKind, Masks, ParityCase, Subset
from cmc_sdk.runtime.gate.diagnosis import name_fault
from cmc_sdk.runtime.gate.probes import OutputDifference, ScanningBackend
from cmc_sdk.runtime.gate.reference import Reference, label_case

__all__ = ["ParityReport", "ParityRun", "run_gate"]


@dataclass(frozen=True)
class ParityRun:
    """One backend beside the reference, on one modality of one case with one subset present."""

    backend: str
    case: str
    kind: CaseKind
    present: Subset
    modality: str
    agreement: Agreement
    faults: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        place = {"backend": self.backend, "case": self.case, "kind": self.kind}
        return {
            **place,
            "present": list(self.present),
            "modality": self.modality,
            **self.agreement.to_dict(),
            "faults": list(self.faults),
        }


@dataclass(frozen=True)
class ParityReport:
    """What `run_gate` found; true if everything is within the limits.

    Args:
        limits: That were held.
        reference: Whom the labels were held against.
        precision: By backend.
        versions: Of the backends' libraries, where known.
        runs: Every comparison, real scans first.
        not_finite: NaN and infinite values by (backend, graph, output), over every window of every case.
        outputs: Differences of each graph's outputs on a few windows, by (backend, graph, output), where measured.
        notes: What was found out about a fault.
    """

    limits: GateLimits
    reference: str
    precision: Mapping[str, str]
    versions: Mapping[str, str | None]
    runs: tuple[ParityRun, ...]
    not_finite: Mapping[tuple[str, str, str], int]
    outputs: Mapping[tuple[str, str, str], OutputDifference] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.faults

    @property
    def faults(self) -> list[str]:
        """What breaks the limits, one line each."""
        return [fault for backend in (self.reference, *self.precision) for fault in self.faults_of(backend)]

    def faults_of(self, backend: str) -> list[str]:
        """What breaks the limits in one backend."""
        words = f"{backend} {self.precision[backend]}" if backend in self.precision else backend
        found = [
            f"{words}: {count} values of {output} of {graph} are not finite"
            for (name, graph, output), count in self.not_finite.items()
            if name == backend
        ]
        for run in self.runs:
            if run.backend == backend:
                place = f"{words}, {run.modality} of {run.case} with {' + '.join(run.present)}"
                found += [f"{place}: {fault}" for fault in run.faults]
        return found

    @property
    def foreground_vox(self) -> int:
        """Foreground voxels that were compared; 0 means that the network found nothing anywhere."""
        return sum(run.agreement.rates.foreground_vox for run in self.runs)

    def require(self) -> None:
        """Refuse what does not label as the reference does.

        Raises:
            ParityError: Something breaks the limits; names the backend, the precision, the class and the place.
        """
        if self.faults:
            more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
            notes = "".join(f"; {note}" for note in self.notes)
            raise ParityError(
                f"the exported graphs do not label as {self.reference} does: {self.faults[0]}{more}{notes}",
                mend="export with the pinned torch, onnxscript and backends (constraints.txt); `cmc doctor` lists them",
            )

    def to_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        return {
            "passed": bool(self),
            "limits": self.limits.model_dump(),
            "reference": self.reference,
            "backends": {
                name: {"precision": value, "version": self.versions.get(name)} for name, value in self.precision.items()
            },
            "machine": platform.machine(),
            "runs": [run.to_dict() for run in self.runs],
            "not_finite": [
                {"backend": backend, "graph": graph, "output": output, "values": count}
                for (backend, graph, output), count in self.not_finite.items()
            ],
            "outputs": [
                {"backend": backend, "graph": graph, "output": output, **difference.to_dict()}
                for (backend, graph, output), difference in self.outputs.items()
            ],
            "faults": self.faults,
            "notes": list(self.notes),
        }


def run_gate(
    spec: ModelSpec,
    *,
    reference: Reference,
    candidates: Mapping[str, Backend],
    cases: Sequence[ParityCase],
    limits: GateLimits,
    versions: Mapping[str, str | None] | None = None,
    keep: Callable[[ParityCase, Subset, Answer], None] | None = None,
    progress: Progress | None = None,
) -> ParityReport:
    """Label every case with the reference and with each candidate, through the same `Segmenter`, and compare.

    Args:
        spec: Of the network.
        reference: Whom they are held against.
        candidates: By backend, all of one precision or each of its own.
        cases: Real ones with all of their modalities and with each alone; so golden ones; stress cases with all.
        limits: Of every class in every case; flips and shifts are pooled over the real cases of a subset.
        versions: Of the candidates' libraries.
        keep: Called with the reference's answer on each case and subset.
        progress: Called with ("parity", done, total).
    """
    scanning = {name: ScanningBackend(backend) for name, backend in candidates.items()}
    todo = [(case, present) for case in cases for present in case.subsets(spec.names)]
    runs: list[_Compared] = []
    for index, (case, present) in enumerate(todo):
        expected = reference.label(case, present)
        if expected is not None:
            if keep is not None:
                keep(case, present, expected)
            for name, scanned in scanning.items():
                given = label_case(scanned, case, present, spec=spec)
                if given is not None:
                    masks = reference.undecided(case, present, precision=scanned.precision)
                    runs += _compare(name, case, expected, given, spec=spec, masks=masks, precision=scanned.precision)
        if progress is not None:
            progress("parity", index + 1, len(todo))
    counts = {reference.name: reference.not_finite}
    counts |= {name: scanned.not_finite for name, scanned in scanning.items()}
    return ParityReport(
        limits=limits,
        reference=reference.name,
        precision={name: backend.precision for name, backend in candidates.items()},
        versions=dict(versions or {}),
        runs=tuple(sorted(_judge(runs, limits=limits, spec=spec), key=lambda run: run.kind != "real")),
        not_finite={
            (name, graph, output): count for name, found in counts.items() for (graph, output), count in found.items()
        },
    )


@dataclass(frozen=True)
class _Compared:
    """A run that has not been judged yet."""

    backend: str
    case: ParityCase
    present: Subset
    modality: str
    agreement: Agreement
    labels: tuple[Volume, Volume]

    @property
    def pool(self) -> tuple[str, ...]:
        """Runs of one pool share their rates: real cases with one subset present."""
        case = "" if self.case.kind == "real" else self.case.name
        return (self.backend, case, *self.present, self.modality)


def _compare(
    backend: str, case: ParityCase, expected: Answer, given: Answer, *, spec: ModelSpec, masks: Masks, precision: str
) -> Iterator[_Compared]:
    for modality, reference in expected.labels.items():
        candidate = given.labels[modality]
        agreement = compare_labels(
            reference.stored,
            candidate.stored,
            classes=spec.classes.names,
            affine_mm=reference.affine_mm,
            reference_confidence=expected.confidence[modality].stored,
            candidate_confidence=given.confidence[modality].stored,
            undecided=masks.get(modality),
            confidence_step=CONFIDENCE_STEPS[precision],
        )
        yield _Compared(backend, case, tuple(expected.labels), modality, agreement, (reference, candidate))


def _judge(runs: Sequence[_Compared], *, limits: GateLimits, spec: ModelSpec) -> Iterator[ParityRun]:
    """Every run with what breaks the limits in it; a pool's rates are the fault of its worst run."""
    pools: dict[tuple[str, ...], list[_Compared]] = {}
    for run in runs:
        pools.setdefault(run.pool, []).append(run)
    blamed: dict[int, list[str]] = {}
    for members in pools.values():
        rates = functools.reduce(operator.add, (run.agreement.rates for run in members))
        words = f" (over {len(members)} cases)" if len(members) > 1 else ""
        worst = max(members, key=lambda run: (run.agreement.rates.flips, run.agreement.rates.shifted))
        blamed[id(worst)] = [f"{fault}{words}" for fault in rates.faults(limits)]
    for run in runs:
        faults = [*run.agreement.class_faults(limits), *blamed.get(id(run), ())]
        if faults:
            guess = name_fault(
                run.labels[0].stored,
                run.labels[1].stored,
                classes=spec.classes.names,
                affine_mm=run.labels[0].affine_mm,
                spacing_mm=spec.grid.spacing_mm,
            )
            faults[0] += f"; {guess}" if guess else ""
        yield ParityRun(
            run.backend, run.case.name, run.case.kind, run.present, run.modality, run.agreement, tuple(faults)
        )
