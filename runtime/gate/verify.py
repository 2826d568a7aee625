"""The gate again, on the machine where the bundle will run: hashes, golden labels, every precision, every backend."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cmc_sdk.bundle.admission import admit
from cmc_sdk.bundle.manifest import Manifest
from cmc_sdk.bundle.precision import GRAPHS_OF, GateLimits, Precision
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.bundle.trust import Trust
from cmc_sdk.errors import BackendError, BundleError, InputError
from cmc_sdk.imaging.read import read_volume
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.pairing import ScanPairing
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.backends.base import Backend
from cmc_sdk.runtime.backends.catalogue import CATALOGUE, REFERENCE, find_row, installed_backends
from cmc_sdk.runtime.backends.select import open_backend
from cmc_sdk.runtime.gate.case import ParityCase
from cmc_sdk.runtime.gate.golden import GoldenReference, read_golden_cases
from cmc_sdk.runtime.gate.reference import BackendReference
from cmc_sdk.runtime.gate.run import ParityReport, run_gate
from cmc_sdk.runtime.gate.stress import stress_cases
from cmc_sdk.runtime.host.description import describe_machine
from cmc_sdk.runtime.host.packages import installed_version
from cmc_sdk.runtime.onnx.checks import check_graph_file
from cmc_sdk.runtime.segmenter import Image

__all__ = ["VerifyReport", "verify_bundle"]

Pair = tuple[str, Precision]


@dataclass(frozen=True)
class VerifyReport:
    """What `verify_bundle` found; true if everything passed.

    Args:
        bundle: Its name and version.
        manifest_sha256: Of the manifest that was checked.
        files: Number of files whose hash was checked.
        time_utc: When, ISO 8601.
        machine: Where: system, processor, devices, versions.
        golden: f32 beside the labels that the trained network gave to the golden scans.
        gates: By precision, every backend beside the reference, on golden, stress and given scans.
        notes: What was left out, and why.
    """

    bundle: str
    manifest_sha256: str
    files: int
    time_utc: str
    machine: Mapping[str, Any]
    golden: ParityReport
    gates: Mapping[Precision, ParityReport]
    notes: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.faults

    @property
    def faults(self) -> list[str]:
        """What breaks a limit, one line each."""
        found = [f"{fault} (beside the golden labels)" for fault in self.golden.faults]
        return found + [fault for report in self.gates.values() for fault in report.faults]

    @property
    def passed(self) -> tuple[Pair, ...]:
        """Every backend and precision that kept its limits here."""
        good = {backend for backend in self.golden.precision if not self.golden.faults_of(backend)}
        pairs: list[Any] = [(backend, "f32") for backend in good]
        for precision, report in self.gates.items():
            pairs += [(backend, precision) for backend in report.precision if not report.faults_of(backend)]
        failed = {
            (backend, precision)
            for precision, report in self.gates.items()
            for backend in report.precision
            if report.faults_of(backend)
        }
        return tuple(dict.fromkeys(pair for pair in pairs if pair not in failed))

    def to_dict(self) -> dict[str, Any]:
        """The report, for JSON."""
        return {
            "passed": bool(self),
            "bundle": self.bundle,
            "manifest_sha256": self.manifest_sha256,
            "files": self.files,
            "time_utc": self.time_utc,
            "machine": dict(self.machine),
            "backends": [{"backend": backend, "precision": precision} for backend, precision in self.passed],
            "golden": self.golden.to_dict(),
            "gates": {precision: report.to_dict() for precision, report in self.gates.items()},
            "notes": list(self.notes),
            "faults": self.faults,
        }


def verify_bundle(
    bundle: str | os.PathLike[str] | Bundle,
    *,
    trust: Trust | None = None,
    backends: Sequence[str] | None = None,
    precisions: Sequence[Precision] | None = None,
    images: Mapping[str, Image] | None = None,
    pairing: ScanPairing = "auto",
    others: Sequence[Backend] = (),
    progress: Progress | None = None,
) -> VerifyReport:
    """Check a bundle's hashes and graphs, and that it labels here as it should, in every precision and backend.

    f32 is held against the golden labels, those that the trained network gave where the bundle was made. Every other
    backend and precision is held against ONNX Runtime f32, through the whole path, on the golden scans, on the stress
    scans and on the scans that are given.

    Args:
        bundle: As for `Session`.
        trust: As for `Session`.
        backends: Which to run; None for every one that is installed.
        precisions: Which to run; None for every one in the bundle that these backends compute.
        images: Scans of one patient, by modality: volumes, or paths as `cmc_sdk.imaging.read.read_volume` takes them.
        pairing: How they relate; see `cmc_sdk.runtime.planning.groups.plan_groups`.
        others: Further backends to hold to the limits of their precision, such as engines of this device.
        progress: Called with (stage, done, total).

    Raises:
        TrustError: Nobody who is trusted vouches for the bundle.
        BundleError: A file is missing, extra or changed, or a graph is not what the manifest says.
        BackendError: No backend is installed, or one cannot run the bundle.
        InputError: A precision that is not in the bundle, or an unknown modality.
        DataError: A scan cannot be read.
    """
    opened, _ = admit(bundle, trust=trust)
    opened.verify_all(progress=None if progress is None else lambda _, done, total: progress("hashes", done, total))
    manifest = opened.manifest
    cases, answers = read_golden_cases(opened.read)
    _check_graphs(opened)
    f32 = _limits(opened, "f32")
    notes: list[str] = []
    pairs = list(_pairs(opened, backends=backends, precisions=precisions, notes=notes))
    opener = _Opener(opened)
    reference_name = REFERENCE
    if REFERENCE not in installed_backends():
        reference_name = next(backend for backend, _ in pairs)
        notes.append(f"ONNX Runtime is not installed: {reference_name} f32 is the reference in its place")
    exact: dict[str, Backend] = {
        name: opener.open(name, "f32") for name in dict.fromkeys((reference_name, *_of(pairs, "f32")))
    }
    golden = run_gate(
        manifest.spec,
        reference=GoldenReference(answers),
        candidates=exact,
        cases=cases,
        limits=f32,
        versions=_versions(exact),
        progress=None if progress is None else lambda _, done, total: progress("golden labels", done, total),
    )
    reference = BackendReference(manifest.spec, exact[reference_name], name=f"{reference_name} f32")
    scans = [*_given(images, manifest=manifest, pairing=pairing), *cases, *stress_cases(manifest.spec)]
    gates: dict[Precision, ParityReport] = {}
    for precision in dict.fromkeys([*(item for _, item in pairs), *map(_precision, others)]):
        candidates: dict[str, Backend] = {
            name: opener.open(name, precision)
            for name in _of(pairs, precision)
            if (name, precision) != (reference_name, "f32")
        }
        candidates |= {item.name: item for item in others if _precision(item) == precision}

        def report_gate(_: str, done: int, total: int, precision: str = precision) -> None:
            if progress is not None:
                progress(f"gate {precision}", done, total)

        gates[precision] = run_gate(
            manifest.spec,
            reference=reference,
            candidates=candidates,
            cases=scans,
            limits=_limits(opened, precision),
            versions=_versions(candidates),
            progress=report_gate,
        )
    return VerifyReport(
        bundle=f"{manifest.name} {manifest.version}",
        manifest_sha256=opened.manifest_sha256,
        files=len(manifest.files),
        time_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine={**describe_machine().to_dict(), "devices": _devices()},
        golden=golden,
        gates=gates,
        notes=tuple(notes),
    )


class _Opener:
    """Opens each backend of a bundle once."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._opened: dict[Pair, Backend] = {}

    def open(self, name: str, precision: Precision) -> Backend:
        if (name, precision) not in self._opened:
            self._opened[name, precision] = open_backend(self._bundle, choice=name, precision=precision)
        return self._opened[name, precision]


def _pairs(
    bundle: Bundle,
    *,
    backends: Sequence[str] | None,
    precisions: Sequence[Precision] | None,
    notes: list[str],
) -> Iterator[Pair]:
    """Every backend and precision to run, f32 first; what is left out is noted."""
    chosen = tuple(backends) if backends is not None else installed_backends()
    if not chosen:
        raise BackendError("no inference backend is installed", mend="install one: pip install 'cmc-sdk[cpu]'")
    there = {graph.precision for graph in bundle.manifest.graphs}
    known = [item for item in GRAPHS_OF if item in bundle.manifest.gate and GRAPHS_OF[item] in there]
    for item in precisions or ():
        if item not in known:
            raise InputError(f"{bundle.path} holds no {item}", mend=f"choose among {', '.join(known)}")
    for precision in sorted(precisions or known, key=list(GRAPHS_OF).index):
        able = [name for name in chosen if precision in find_row(name).graphs]
        lacking = {name: why for name in able if (why := find_row(name).lacks(precision)) is not None}
        if not able:
            notes.append(f"{precision} was left out: none of {', '.join(chosen)} computes in it")
        notes += [f"{precision} was left out: {why}" for why in dict.fromkeys(lacking.values())]
        for name in able:
            if name not in lacking:
                yield name, precision


def _precision(backend: Backend) -> Precision:
    for known in GRAPHS_OF:
        if known == backend.precision:
            return known
    raise InputError(f"{backend.name} computes in {backend.precision}", mend=f"give one of {', '.join(GRAPHS_OF)}")


def _devices() -> list[dict[str, Any]]:
    """The key of every device of this machine: what an engine's word is bound to."""
    from cmc_sdk.runtime.backends.tensorrt.driver import device_key, find_devices

    return [device_key(device).model_dump(mode="json") for device in find_devices().devices]


def _of(pairs: Sequence[Pair], precision: str) -> list[str]:
    return [name for name, item in pairs if item == precision]


def _check_graphs(bundle: Bundle) -> None:
    """Refuse a graph that is not what the manifest says; OpenVINO's own format is judged by its labels alone."""
    for graph in bundle.manifest.graphs:
        if graph.weights is None:
            check_graph_file(bundle.read(graph.path), graph=graph)


def _limits(bundle: Bundle, precision: Any) -> GateLimits:
    limits = bundle.manifest.gate.get(precision)
    if limits is None:
        raise BundleError(f"{bundle.path} states no limits for {precision}", mend="export it again")
    return limits


def _given(images: Mapping[str, Image] | None, *, manifest: Manifest, pairing: ScanPairing) -> list[ParityCase]:
    if not images:
        return []
    for name in images:
        if name not in manifest.spec.names:
            raise InputError(
                f"modality {name!r} is not one that the network knows", mend=f"give {', '.join(manifest.spec.names)}"
            )
    volumes = {key: image if isinstance(image, Volume) else read_volume(Path(image)) for key, image in images.items()}
    return [ParityCase(name="given", images=volumes, pairing=pairing)]


def _versions(backends: Mapping[str, Backend]) -> dict[str, str | None]:
    return {name: installed_version(CATALOGUE[name].package if name in CATALOGUE else name) for name in backends}
