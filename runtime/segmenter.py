"""Labelling scans with a network behind a backend: the same code in validation, gate and deployment."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Union

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModelSpec, SeenRange, SubsetScore
from cmc_sdk.errors import InputError
from cmc_sdk.imaging.read import read_volume
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.pairing import ScanPairing
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.backends.base import Backend
from cmc_sdk.runtime.core import Threads
from cmc_sdk.runtime.host.memory import peak_rss_bytes
from cmc_sdk.runtime.labelling.label_scans import StageSeconds, label_scans
from cmc_sdk.runtime.labelling.window_plan import WindowPlan
from cmc_sdk.runtime.planning.limits import Limits, RunClock
from cmc_sdk.runtime.planning.planner import Planner
from cmc_sdk.runtime.planning.run_plan import RunPlan
from cmc_sdk.runtime.results.quality import judge
from cmc_sdk.runtime.results.record import BundleIdentity, GroupRecord, QualityRecord, RunRecord, input_record
from cmc_sdk.runtime.results.result import Quality, Result
from cmc_sdk.runtime.scans.prepared import PreparedScan, prepare_scans
from cmc_sdk.threads import usable_threads
from cmc_sdk.version import __version__

__all__ = ["Image", "Quality", "Result", "Segmenter"]

Image = Union[Volume, str, "os.PathLike[str]"]


class Segmenter:
    """A network that labels scans by sliding a window.

    Args:
        spec: Modalities, classes and grid.
        backend: Runs the network.
        backend_reason: Why this one, for the record.
        seen: What validation saw by modality, for the quality flag.
        validated_subsets: Subsets of modalities with a validation score, for the quality flag.
        identity: Which bundle it is, for the record.
        trust: Why the bundle may run, for the record.
        threads: Threads of the core, and of the backend for the record; None: all that this process may use.
        limits: Memory and time of each run; None: no limit.
    """

    def __init__(
        self,
        spec: ModelSpec,
        backend: Backend,
        *,
        backend_reason: str | None = None,
        seen: Mapping[str, SeenRange] | None = None,
        validated_subsets: Sequence[SubsetScore] = (),
        identity: BundleIdentity | None = None,
        trust: str | None = None,
        threads: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.spec = spec
        self.backend = backend
        self.backend_reason = backend_reason
        self._seen = dict(seen or {})
        self._validated = tuple(validated_subsets)
        self._identity = identity
        self._trust = trust
        self._threads = threads
        self._core_threads = threads or usable_threads()
        self._limits = limits or Limits()
        self._planner = Planner(backend, spec=spec, limits=self._limits, threads=self._core_threads)

    def infer(
        self,
        images: Mapping[str, Image | PreparedScan],
        *,
        pairing: ScanPairing = "auto",
        batch: int = 1,
        progress: Progress | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Result:
        """Label every scan that is given, each on its own grid.

        Args:
            images: Any non-empty subset of the network's modalities: volumes, or paths of NIfTI files or of DICOM
                files, folders and zips that hold one volume; or scans that were made ready before.
            pairing: How scans relate; see `cmc_sdk.runtime.planning.groups.plan_groups`.
            batch: Windows in one call of the network; with limits the plan decides.
            progress: Called with ("windows", done, total).
            cancel: Asked before each window; True ends the run.

        Raises:
            InputError: No image, an unknown modality, or a batch below 1.
            DataError: A file cannot be read, or a voxel is not finite.
            GeometryError: Scans said to share a frame do not overlap.
            BackendError: The network failed, or gave values that are not finite.
            PlanError: The limits cannot be kept; nothing was run.
            DeadlineError: The deadline passed.
            InterruptError: `cancel` said so.
        """
        self._check(images, batch=batch)
        started, since = datetime.now(timezone.utc), time.perf_counter()
        threads = Threads(self._core_threads)
        stages = StageSeconds()
        opened = self._open(images)
        since = stages.add("read", since)
        scans = prepare_scans(opened, spec=self.spec, threads=threads)
        since = stages.add("statistics", since)
        read_s, statistics_s = stages.seconds["read"], stages.seconds["statistics"]
        # What a plan promises holds the statistics, as if they were still to come.
        plan = self._planner.plan(scans, pairing=pairing, batch=batch, spent_s=read_s)
        # Without limits nothing is measured, and the moment that grouping takes is no stage of its own.
        stages.add("plan" if self._limits else "statistics", since)
        # Planning is not the run: a session measures once, and the deadline holds for every scan alike.
        clock = RunClock(self._limits, cancel=cancel, started=time.monotonic() - read_s - statistics_s)
        volumes = {name: scan.volume for name, scan in scans.items()}
        warnings = plan.warnings + tuple(f"{name}: {note}" for name, scan in volumes.items() for note in scan.notes)
        exact = self.backend.exact_windows
        labelled = label_scans(
            scans,
            plan=plan,
            spec=self.spec,
            backend=self.backend,
            threads=threads,
            stages=stages,
            checkpoint=clock.check,
            progress=progress,
        )
        clock.check()
        since = time.perf_counter()
        if (exact := self.backend.exact_windows - exact) > 0:
            warnings += (
                f"{exact} windows lie outside of what {self.backend.precision} was calibrated on "
                "and were computed in f32",
            )
        volumes_ml = {
            name: {
                item.name: float(labelled[name].counts[item.index]) * volume.voxel_volume_ml
                for item in self.spec.classes.classes
            }
            for name, volume in volumes.items()
        }
        quality = judge(
            spec=self.spec,
            scans=scans,
            labelled=labelled,
            volumes_ml=volumes_ml,
            groups=[group.modalities for group in plan.groups],
            seen=self._seen,
            validated_subsets=self._validated,
        )
        stages.add("quality", since)
        record = self._record(started, volumes, plan, stages, warnings, quality, volumes_ml)
        return Result(
            labels={name: volume.with_array(labelled[name].labels) for name, volume in volumes.items()},
            confidence={
                name: volume.with_array(_known(labelled[name].confidence, volume=volume))
                for name, volume in volumes.items()
            },
            volumes_ml=volumes_ml,
            quality=quality,
            record=record,
        )

    def plan(self, images: Mapping[str, Image | PreparedScan], *, pairing: ScanPairing = "auto") -> RunPlan:
        """What `infer` would take, without running it; measures one window first, once for a set of modalities.

        Raises:
            PlanError: The session's limits cannot be kept.
            InputError, DataError, GeometryError: As `infer`.
        """
        self._check(images, batch=1)
        scans = prepare_scans(self._open(images), spec=self.spec, threads=Threads(self._core_threads))
        return self._planner.promise(scans, pairing=pairing, spent_s=0.0)

    def _open(self, images: Mapping[str, Image | PreparedScan]) -> dict[str, Volume | PreparedScan]:
        given = {name: images[name] for name in self.spec.names if name in images}
        return {
            name: image if isinstance(image, (Volume, PreparedScan)) else read_volume(image)
            for name, image in given.items()
        }

    def _check(self, images: Mapping[str, Image | PreparedScan], *, batch: int) -> None:
        allowed = ", ".join(self.spec.names)
        if not images:
            raise InputError("no image was given", mend=f"give one or more of {allowed}")
        for name in images:
            if name not in self.spec.names:
                raise InputError(f"modality {name!r} is not one that the network knows", mend=f"give {allowed}")
        if batch < 1:
            raise InputError(f"a batch of {batch} windows is not possible", mend="give 1 or more")

    def _record(
        self,
        started: datetime,
        volumes: Mapping[str, Volume],
        plan: WindowPlan,
        stages: StageSeconds,
        warnings: tuple[str, ...],
        quality: Quality,
        volumes_ml: dict[str, dict[str, float]],
    ) -> RunRecord:
        since = time.perf_counter()
        inputs = {name: input_record(volume) for name, volume in volumes.items()}
        stages.add("hash", since)
        spacing = self.spec.grid.spacing_mm
        return RunRecord(
            time_utc=started.isoformat(timespec="seconds"),
            code_version=__version__,
            bundle=self._identity,
            trust=self._trust,
            backend=self.backend.name,
            precision=self.backend.precision,
            backend_reason=self.backend_reason,
            device=platform.processor() or platform.machine(),
            threads=self._threads,
            inputs=inputs,
            presence={name: name in volumes for name in self.spec.names},
            plan=tuple(
                GroupRecord(
                    modalities=group.modalities,
                    grid_size_vox=group.grid.size_vox,
                    grid_spacing_mm=spacing,
                    windows=len(group.starts),
                    ring_axis=group.ring_axis,
                    core_bytes=group.core_bytes,
                )
                for group in plan.groups
            ),
            batch=plan.batch,
            streams=plan.streams,
            windows_run=stages.windows,
            windows_reused=stages.reused,
            seconds={name: round(seconds, 6) for name, seconds in stages.seconds.items()},
            peak_rss_bytes=peak_rss_bytes(),
            warnings=warnings,
            quality=QualityRecord(status=quality.status, reasons=quality.reasons),
            volumes_ml=volumes_ml,
        )


def _known(confidence: npt.NDArray[np.uint8], *, volume: Volume) -> npt.NDArray[np.uint8]:
    """`confidence` with 0, in place, on slices that the scanner left out: what lies there was interpolated."""
    if volume.interpolated_slices:
        confidence[:, :, sorted(volume.interpolated_slices)] = 0
    return confidence
