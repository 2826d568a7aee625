"""Labelling scans with a network behind a backend: the same code in validation, gate and deployment."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModelSpec, SeenRange, SubsetScore
from cmc_sdk.errors import DataError, InputError
from cmc_sdk.imaging.read import read_volume
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.pairing import ScanPairing
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.backends.base import Backend, CalibratedBackend
from cmc_sdk.runtime.core import IntensityStatistics, Threads, intensity_statistics
from cmc_sdk.runtime.host.memory import peak_rss_bytes
from cmc_sdk.runtime.labelling.groups import Group, plan_groups
from cmc_sdk.runtime.labelling.label_group import Labelled, label_group
from cmc_sdk.runtime.labelling.queue import best_streams, set_streams
from cmc_sdk.runtime.labelling.runner import StageSeconds
from cmc_sdk.runtime.planning.cost import CoreRates, SessionCost, measure_core, measure_session
from cmc_sdk.runtime.planning.limits import Limits, RunClock
from cmc_sdk.runtime.planning.run_plan import RunPlan, choose_plan
from cmc_sdk.runtime.results.quality import judge
from cmc_sdk.runtime.results.record import BundleIdentity, GroupRecord, QualityRecord, RunRecord, input_record
from cmc_sdk.runtime.results.result import Quality, Result
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
        self._costs: dict[tuple[tuple[str, ...], int, int], SessionCost] = {}
        self._ready_streams = 1
        self._rates: CoreRates | None = None

    def infer(
        self,
        images: Mapping[str, Image],
        *,
        pairing: ScanPairing = "auto",
        batch: int = 1,
        progress: Progress | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Result:
        """Label every scan that is given, each on its own grid.

        Args:
            images: Any non-empty subset of the network's modalities: volumes, or paths of NIfTI files or of DICOM
                files, folders and zips that hold one volume.
            pairing: How scans relate; see `cmc_sdk.runtime.labelling.groups.plan_groups`.
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
        volumes = {name: _open_image(images[name]) for name in self.spec.names if name in images}
        since = stages.add("read", since)
        reading_s = stages.seconds["read"]
        if self._limits:
            plan = self._plan(volumes, pairing=pairing, spent_s=reading_s)
            groups, warnings, batch, streams = plan.groups, plan.warnings, plan.batch, plan.streams
            since = stages.add("plan", since)
        else:
            groups, warnings = plan_groups(volumes, spec=self.spec, pairing=pairing, threads=threads.count)
            # By the scans alone, so that a scan is run in the same way whatever came before it.
            streams = min(best_streams(self.backend), max(len(group.starts) for group in groups))
            set_streams(self.backend, streams)
        # Planning is not the run: a session measures once, and the deadline holds for every scan alike.
        clock = RunClock(self._limits, cancel=cancel, started=time.monotonic() - reading_s)
        statistics = {name: self._statistics(name, volume, threads) for name, volume in volumes.items()}
        since = stages.add("statistics", since)
        warnings += tuple(f"{name}: {note}" for name, volume in volumes.items() for note in volume.notes)
        exact = _exact_windows(self.backend)
        total, labelled, before = sum(len(group.starts) for group in groups), dict[str, Labelled](), 0
        for group in groups:

            def report(done: int, before: int = before) -> None:
                if progress is not None:
                    progress("windows", before + done, total)

            labelled |= label_group(
                group,
                volumes=volumes,
                statistics=statistics,
                spec=self.spec,
                backend=self.backend,
                batch=batch,
                streams=streams,
                threads=threads,
                stages=stages,
                progress=report,
                checkpoint=clock.check,
            )
            before += len(group.starts)
        clock.check()
        since = time.perf_counter()
        if (exact := _exact_windows(self.backend) - exact) > 0:
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
            volumes=volumes,
            statistics=statistics,
            labelled=labelled,
            volumes_ml=volumes_ml,
            groups=[group.modalities for group in groups],
            seen=self._seen,
            validated_subsets=self._validated,
        )
        stages.add("quality", since)
        record = self._record(started, volumes, groups, stages, (batch, streams), warnings, quality, volumes_ml)
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

    def plan(self, images: Mapping[str, Image], *, pairing: ScanPairing = "auto") -> RunPlan:
        """What `infer` would take, without running it; measures one window first, once for a set of modalities.

        Raises:
            PlanError: The session's limits cannot be kept.
            InputError, DataError, GeometryError: As `infer`.
        """
        self._check(images, batch=1)
        volumes = {name: _open_image(images[name]) for name in self.spec.names if name in images}
        return self._plan(volumes, pairing=pairing, spent_s=0.0)

    def _plan(self, volumes: Mapping[str, Volume], *, pairing: ScanPairing, spent_s: float) -> RunPlan:
        if self._rates is None:
            self._rates = measure_core(self.spec, threads=Threads(self._core_threads))
        deadline = self._limits.deadline_s
        left = Limits(self._limits.max_mem_bytes, None if deadline is None else deadline - spent_s)
        plan = choose_plan(
            volumes,
            spec=self.spec,
            pairing=pairing,
            limits=left,
            cost_of=lambda present, batch, streams: self._cost(present, batch, streams, volumes),
            rates=self._rates,
            threads=self._core_threads,
            best_streams=best_streams(self.backend),
        )
        if self._ready_streams != plan.streams:  # another one was measured last, and compiling takes time
            for group in plan.groups:
                present = group.modalities
                measure_session(self.backend, spec=self.spec, present=present, batch=plan.batch, streams=plan.streams)
            self._ready_streams = plan.streams
        return plan

    def _cost(self, present: Sequence[str], batch: int, streams: int, volumes: Mapping[str, Volume]) -> SessionCost:
        key = (tuple(present), batch, streams)
        if key not in self._costs:
            # Scans that are in memory by now are counted apart.
            resident = sum(item.stored.nbytes for item in volumes.values() if not _is_mapped(item.stored))
            self._costs[key] = measure_session(
                self.backend, spec=self.spec, present=present, batch=batch, streams=streams, scans_bytes=resident
            )
            self._ready_streams = streams
        return self._costs[key]

    def _check(self, images: Mapping[str, Image], *, batch: int) -> None:
        allowed = ", ".join(self.spec.names)
        if not images:
            raise InputError("no image was given", mend=f"give one or more of {allowed}")
        for name in images:
            if name not in self.spec.names:
                raise InputError(f"modality {name!r} is not one that the network knows", mend=f"give {allowed}")
        if batch < 1:
            raise InputError(f"a batch of {batch} windows is not possible", mend="give 1 or more")

    def _statistics(self, name: str, volume: Volume, threads: Threads) -> IntensityStatistics:
        found = intensity_statistics(volume, self.spec.modality(name).intensity, threads=threads)
        if not found.finite:
            bad = int(np.count_nonzero(~np.isfinite(volume.stored)))
            raise DataError(
                f"{name} ({volume.name}) has {bad} voxels that are NaN or infinite",
                mend="repair the scan; none is guessed",
            )
        return found

    def _record(
        self,
        started: datetime,
        volumes: Mapping[str, Volume],
        groups: Sequence[Group],
        stages: StageSeconds,
        at_once: tuple[int, int],
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
                for group in groups
            ),
            batch=at_once[0],
            streams=at_once[1],
            windows_run=stages.windows,
            windows_reused=stages.reused,
            seconds={name: round(seconds, 6) for name, seconds in stages.seconds.items()},
            peak_rss_bytes=peak_rss_bytes(),
            warnings=warnings,
            quality=QualityRecord(status=quality.status, reasons=quality.reasons),
            volumes_ml=volumes_ml,
        )


def _exact_windows(backend: Backend) -> int:
    return backend.exact_windows if isinstance(backend, CalibratedBackend) else 0


def _open_image(image: Image) -> Volume:
    return image if isinstance(image, Volume) else read_volume(image)


def _known(confidence: npt.NDArray[np.uint8], *, volume: Volume) -> npt.NDArray[np.uint8]:
    """`confidence` with 0, in place, on slices that the scanner left out: what lies there was interpolated."""
    if volume.interpolated_slices:
        confidence[:, :, sorted(volume.interpolated_slices)] = 0
    return confidence


def _is_mapped(array: npt.NDArray[Any]) -> bool:
    base: Any = array
    while base is not None:
        if isinstance(base, np.memmap):
            return True
        base = getattr(base, "base", None)
    return False
