"""The gate again, on the machine where the bundle will run: hashes, then every backend against the golden labels."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cmc_sdk.bundle.precision import GateLimits
from cmc_sdk.bundle.reader import open_bundle
from cmc_sdk.bundle.trust import Trust, require_trust
from cmc_sdk.errors import BackendError, BundleError
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.agreement import Agreement, compare_labels
from cmc_sdk.runtime.golden import GoldenRun, read_golden
from cmc_sdk.runtime.session import Session

__all__ = ["BACKENDS", "VerifyReport", "VerifyRun", "installed_backends", "verify_bundle"]

BackendName = Literal["openvino", "onnxruntime"]
BACKENDS: tuple[BackendName, ...] = ("openvino", "onnxruntime")


@dataclass(frozen=True)
class VerifyRun:
    """One comparison: `backend` against `against` (`golden`, or another backend) on one modality of one run."""

    backend: str
    against: str
    case: str
    present: tuple[str, ...]
    modality: str
    agreement: Agreement
    faults: tuple[str, ...]


@dataclass(frozen=True)
class VerifyReport:
    """What `verify_bundle` found; true if everything passed.

    Args:
        bundle: Its name and version.
        manifest_sha256: Of the manifest that was checked.
        files: Number of files whose hash was checked.
        precision: Precision by backend.
        runs: Every comparison.
    """

    bundle: str
    manifest_sha256: str
    files: int
    precision: Mapping[str, str]
    limits: GateLimits
    runs: tuple[VerifyRun, ...]

    def __bool__(self) -> bool:
        return not self.faults

    @property
    def faults(self) -> list[str]:
        """What breaks the limits, one line each."""
        return [
            f"{run.backend} against {run.against}, {run.modality} of {run.case} with {' + '.join(run.present)}: {fault}"
            for run in self.runs
            for fault in run.faults
        ]

    def to_dict(self) -> dict[str, Any]:
        """The report, for JSON."""
        return {
            "passed": bool(self),
            "bundle": self.bundle,
            "manifest_sha256": self.manifest_sha256,
            "files": self.files,
            "machine": {"platform": platform.platform(), "python": platform.python_version()},
            "precision": dict(self.precision),
            "limits": self.limits.model_dump(),
            "runs": [
                {
                    "backend": run.backend,
                    "against": run.against,
                    "case": run.case,
                    "present": list(run.present),
                    "modality": run.modality,
                    **run.agreement.to_dict(),
                    "faults": list(run.faults),
                }
                for run in self.runs
            ],
            "faults": self.faults,
        }


def installed_backends() -> tuple[BackendName, ...]:
    """The backends whose package is installed here; nothing is imported."""
    return tuple(name for name in BACKENDS if importlib.util.find_spec(name) is not None)


def verify_bundle(
    bundle: str | os.PathLike[str],
    *,
    trust: Trust | None = None,
    backends: Sequence[BackendName] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> VerifyReport:
    """Check a bundle's hashes, and its labels on this machine against those of the network that it was exported from.

    Every golden scan is labelled by every backend, and compared with the golden labels and with the other backends.

    Args:
        bundle: The folder `NAME.cmc`.
        trust: As for `Session`.
        backends: Which to run; None for every one that is installed.
        progress: Called with (stage, done, total).

    Raises:
        TrustError: Nobody who is trusted vouches for the bundle.
        BundleError: A file is missing, extra or changed.
        BackendError: No backend is installed, or one cannot run the bundle.
    """
    opened = open_bundle(bundle, policy=require_trust(trust))
    opened.verify_all(progress=None if progress is None else lambda _, done, total: progress("hashes", done, total))
    chosen = tuple(backends) if backends is not None else installed_backends()
    if not chosen:
        raise BackendError("no inference backend is installed", mend="install one: pip install 'cmc-sdk[cpu]'")
    cases, volumes = read_golden(opened.read)
    limits = opened.manifest.gate.get("f32")
    if limits is None:
        raise BundleError(f"{opened.path} states no limits for f32", mend="export it again")
    answers = {(case.name, run.present): [_golden(run, volumes=volumes)] for case in cases for run in case.runs}
    todo, done = len(chosen) * len(answers), 0
    precision: dict[str, str] = {}
    for backend in chosen:
        session = Session(opened, backend=backend)
        precision[backend] = session.backend.precision
        for case in cases:
            for run in case.runs:
                images = {name: volumes[case.images[name]] for name in run.present}
                result = session.infer(images, pairing="registered")
                answers[case.name, run.present].append(_Answer(backend, result.labels, result.confidence))
                done += 1
                if progress is not None:
                    progress("golden", done, todo)
    return VerifyReport(
        bundle=f"{opened.manifest.name} {opened.manifest.version}",
        manifest_sha256=opened.manifest_sha256,
        files=len(opened.manifest.files),
        precision=precision,
        limits=limits,
        runs=tuple(
            run
            for (case_name, present), rows in answers.items()
            for run in _compare_all(
                rows, case=case_name, present=present, classes=opened.manifest.spec.classes.names, limits=limits
            )
        ),
    )


@dataclass(frozen=True)
class _Answer:
    """The labels and confidences of one golden scan by modality, and who gave them; the golden one knows more."""

    source: str
    labels: Mapping[str, Volume]
    confidence: Mapping[str, Volume]
    undecided: Mapping[str, Volume] = field(default_factory=dict)


def _golden(run: GoldenRun, *, volumes: Mapping[str, Volume]) -> _Answer:
    labels, confidence, undecided = (
        {name: volumes[path] for name, path in paths.items()} for paths in (run.labels, run.confidence, run.undecided)
    )
    return _Answer("golden", labels, confidence, undecided)


def _compare_all(
    rows: Sequence[_Answer], *, case: str, present: tuple[str, ...], classes: tuple[str, ...], limits: GateLimits
) -> list[VerifyRun]:
    """Every answer against every earlier one; the golden one is the first."""
    found = []
    for index, candidate in enumerate(rows):
        for reference in rows[:index]:
            for modality in present:
                agreement = compare_labels(
                    reference.labels[modality].stored,
                    candidate.labels[modality].stored,
                    classes=classes,
                    reference_confidence=reference.confidence[modality].stored,
                    candidate_confidence=candidate.confidence[modality].stored,
                    undecided=rows[0].undecided[modality].stored > 0,
                )
                faults = tuple(agreement.faults(limits))
                found.append(VerifyRun(candidate.source, reference.source, case, present, modality, agreement, faults))
    return found
