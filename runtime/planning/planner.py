"""The door of this room: prepared scans in, the plan of their run out.

Who may call it: `cmc_sdk.runtime.segmenter` holds a `Planner`, and everybody else plans through a `Segmenter`. Whoever
needs the windows of scans and no run, as `cmc_sdk.export` and the benchmarks do, calls `plan_windows` and
`count_windows`. `Limits` and `RunClock` (limits.py) and `RunPlan` (run_plan.py) are what goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.pairing import ScanPairing
from cmc_sdk.runtime.backends.base import Backend
from cmc_sdk.runtime.core import Threads, model_grid, window_starts
from cmc_sdk.runtime.labelling.window_plan import WindowPlan
from cmc_sdk.runtime.planning.cost import CoreRates, SessionCost, measure_core, measure_session
from cmc_sdk.runtime.planning.groups import plan_groups
from cmc_sdk.runtime.planning.limits import Limits
from cmc_sdk.runtime.planning.run_plan import RunPlan, choose_plan
from cmc_sdk.runtime.scans.prepared import PreparedScan

__all__ = ["Planner", "count_windows", "plan_windows"]


class Planner:
    """Plans runs of one network, and remembers what it costs on this machine: each cost is measured once.

    Args:
        backend: Of the network; a plan leaves it ready for the plan's streams.
        spec: Of the network.
        limits: Of each run.
        threads: Of the core.
    """

    def __init__(self, backend: Backend, *, spec: ModelSpec, limits: Limits, threads: int) -> None:
        self.backend = backend
        self._spec, self._limits, self._threads = spec, limits, threads
        self._costs: dict[tuple[tuple[str, ...], int, int], SessionCost] = {}
        self._ready_streams = 1
        self._rates: CoreRates | None = None

    def plan(
        self, scans: Mapping[str, PreparedScan], *, pairing: ScanPairing, batch: int, spent_s: float
    ) -> WindowPlan:
        """How a run goes: as it was promised where there are limits; else nothing is measured or decided.

        Args:
            scans: By modality.
            pairing: What the caller says.
            batch: Windows in one call of the network; with limits the plan decides.
            spent_s: Of the deadline, before now.

        Raises:
            PlanError: The limits cannot be kept.
            GeometryError: Scans said to share a frame do not overlap.
        """
        if self._limits:
            return self.promise(scans, pairing=pairing, spent_s=spent_s)
        plan = plan_windows(
            scans,
            spec=self._spec,
            pairing=pairing,
            batch=batch,
            threads=self._threads,
            best_streams=self.backend.best_streams,
        )
        self.backend.set_streams(plan.streams)
        return plan

    def promise(self, scans: Mapping[str, PreparedScan], *, pairing: ScanPairing, spent_s: float) -> RunPlan:
        """What a run does and takes, in bytes and seconds; measures first what was not measured yet.

        Args, Raises:
            As `plan`.
        """
        if self._rates is None:
            self._rates = measure_core(self._spec, threads=Threads(self._threads))
        deadline = self._limits.deadline_s
        left = Limits(self._limits.max_mem_bytes, None if deadline is None else deadline - spent_s)
        plan = choose_plan(
            scans,
            spec=self._spec,
            pairing=pairing,
            limits=left,
            cost_of=lambda present, batch, streams: self._cost(present, batch, streams, scans),
            rates=self._rates,
            threads=self._threads,
            best_streams=self.backend.best_streams,
        )
        if self._ready_streams != plan.streams:  # another one was measured last, and compiling takes time
            for group in plan.groups:
                present = group.modalities
                measure_session(self.backend, spec=self._spec, present=present, batch=plan.batch, streams=plan.streams)
            self._ready_streams = plan.streams
        return plan

    def _cost(self, present: Sequence[str], batch: int, streams: int, scans: Mapping[str, PreparedScan]) -> SessionCost:
        key = (tuple(present), batch, streams)
        if key not in self._costs:
            # Scans that are in memory by now are counted apart.
            stored = [scan.volume.stored for scan in scans.values()]
            resident = sum(array.nbytes for array in stored if not _is_mapped(array))
            self._costs[key] = measure_session(
                self.backend, spec=self._spec, present=present, batch=batch, streams=streams, scans_bytes=resident
            )
            self._ready_streams = streams
        return self._costs[key]


def plan_windows(
    scans: Mapping[str, PreparedScan],
    *,
    spec: ModelSpec,
    pairing: ScanPairing,
    batch: int = 1,
    threads: int = 1,
    best_streams: int = 1,
) -> WindowPlan:
    """The plan of scans that nothing limits: the validated overlap, the batch that is asked for, all streams.

    Args:
        scans: By modality.
        spec: Of the network.
        pairing: What the caller says; see `cmc_sdk.runtime.planning.groups.plan_groups`.
        batch: Windows in one call of the network.
        threads: Of the core.
        best_streams: Of the backend.

    Raises:
        GeometryError: Scans said to share a frame do not overlap.
    """
    groups, warnings = plan_groups(scans, spec=spec, pairing=pairing, threads=threads)
    # By the scans alone, so that a scan is run in the same way whatever came before it.
    streams = min(best_streams, max(len(group.starts) for group in groups))
    return WindowPlan(groups=groups, warnings=warnings, batch=batch, streams=streams)


def count_windows(volume: Volume, *, spec: ModelSpec) -> int:
    """Windows over one scan by itself."""
    grid = model_grid(volume.affine_mm, volume.size_vox, spacing_mm=spec.grid.spacing_mm)
    return len(window_starts(grid.size_vox, window_vox=spec.grid.window_vox, overlap=spec.grid.overlap))


def _is_mapped(array: npt.NDArray[np.generic]) -> bool:
    base: object = array
    while base is not None:
        if isinstance(base, np.memmap):
            return True
        base = getattr(base, "base", None)
    return False
