"""The contract of a run, in bytes and seconds, before it starts: what it will take, or why it is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.errors import PlanError
from cmc_sdk.pairing import ScanPairing
from cmc_sdk.runtime.backends.base import BATCHES
from cmc_sdk.runtime.core import Threads
from cmc_sdk.runtime.labelling.sampled_windows import open_samplers
from cmc_sdk.runtime.labelling.window_plan import Group, WindowPlan
from cmc_sdk.runtime.planning.cost import CoreRates, SessionCost
from cmc_sdk.runtime.planning.groups import plan_groups
from cmc_sdk.runtime.planning.limits import Limits
from cmc_sdk.runtime.scans.prepared import PreparedScan

__all__ = ["RunPlan", "choose_plan"]

OVERLAP_STEP = 0.05
SAFETY = 1.1
"""A deadline is promised only where the expected time, this much longer, still fits: machines are not even."""

RESERVE = 1.06
"""Of memory: an allocator does not give back at once what it got."""

STREAMS_RESERVE = 1.04
"""The same for several streams: how their peaks fall together differs from run to run."""

CostOf = Callable[[Sequence[str], int, int], SessionCost]
"""From the modalities that are present, the batch and the streams."""


@dataclass(frozen=True)
class RunPlan(WindowPlan):
    """What a run will do and take.

    Args:
        groups, warnings, batch, streams: As `WindowPlan`.
        overlap: Share of a window that neighbours overlap.
        session_bytes: The process with network and library at work; None: the system does not say.
        input_bytes: Voxels as they are stored.
        core_bytes: All that is numeric and not the network, labels, confidence, and logits that are kept to be used
            again included: the largest group.
        load_peak_bytes: Largest resident memory up to the end of the measurement of the network; None: unknown.
        total_bytes: Largest resident memory of the process that the run will reach; None: unknown.
        seconds: Expected, from reading's end to labels.
        window_seconds: Expected for one window, network and core.
    """

    overlap: float
    session_bytes: int | None
    input_bytes: int
    core_bytes: int
    load_peak_bytes: int | None
    total_bytes: int | None
    seconds: float
    window_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "overlap": self.overlap,
            "batch": self.batch,
            "streams": self.streams,
            "windows": self.windows,
            "bytes": {
                "session": self.session_bytes,
                "input": self.input_bytes,
                "core": self.core_bytes,
                "total": self.total_bytes,
            },
            "seconds": {"total": round(self.seconds, 3), "window": round(self.window_seconds, 4)},
            "groups": [
                {
                    "modalities": list(group.modalities),
                    "grid_size_vox": list(group.grid.size_vox),
                    "windows": len(group.starts),
                    "ring_axis": group.ring_axis,
                    "core_bytes": group.core_bytes,
                }
                for group in self.groups
            ],
        }


def choose_plan(
    scans: Mapping[str, PreparedScan],
    *,
    spec: ModelSpec,
    pairing: ScanPairing,
    limits: Limits,
    cost_of: CostOf,
    rates: CoreRates,
    threads: int,
    best_streams: int = 1,
) -> RunPlan:
    """The plan with the largest overlap, then the shortest time, that keeps the limits.

    Args:
        scans: By modality.
        spec: Of the network; `grid.min_overlap` says how far the overlap may fall.
        pairing: What the caller says.
        limits: Memory and time.
        cost_of: Measures (or remembers) what the network costs with these modalities, this batch and these streams.
        rates: Of the core.
        threads: Of the core.
        best_streams: Of the backend.

    Raises:
        PlanError: No plan keeps the limits; says what the leanest and the fastest would take.
        GeometryError: Scans said to share a frame do not overlap.
    """
    found: list[RunPlan] = []
    for overlap in _overlaps(spec):
        at = spec.model_copy(update={"grid": spec.grid.model_copy(update={"overlap": overlap})})
        groups, warnings = plan_groups(scans, spec=at, pairing=pairing, threads=threads)
        kept = [_kept_logits(group, scans, spec=at, threads=threads) for group in groups]
        core_bytes = _core_bytes(groups, scans, kept=kept)
        most_windows = max(len(group.starts) for group in groups)
        here: list[RunPlan] = []
        for batch, streams in _ways(best_streams, lean=limits.max_mem_bytes is not None):
            # A larger batch costs a measurement, and memory: it is looked at only where time is short.
            if batch > 1 and (batch > most_windows or any(_fits(plan, limits) for plan in here)):
                break
            if streams > most_windows or (here and not _room_for_streams(here[0], streams, limits)):
                continue
            plan = _plan(groups, warnings, scans, core_bytes, overlap, batch, streams, cost_of=cost_of, rates=rates)
            here.append(plan)
            if streams == min(best_streams, most_windows) and batch == 1 and _fits(plan, limits):
                break
            if streams == 1 and not _in_memory(plan, limits):
                break
        found += here
        fitting = [plan for plan in here if _fits(plan, limits)]
        if fitting:
            return _with_peak_of_all(min(fitting, key=lambda plan: plan.seconds), measured=found)
    raise _refusal(found, limits=limits, spec=spec)


def _with_peak_of_all(plan: RunPlan, *, measured: Sequence[RunPlan]) -> RunPlan:
    """What the other plans' measurements took is part of the process's peak too."""
    peaks = [other.load_peak_bytes for other in measured if other.load_peak_bytes is not None]
    return plan if plan.total_bytes is None else replace(plan, total_bytes=max(plan.total_bytes, *peaks))


def _ways(best_streams: int, *, lean: bool) -> list[tuple[int, int]]:
    """Batch and streams, in the order in which they are looked at.

    Several streams are faster and take more memory. What a process once took counts to its peak, so where memory is
    short one stream is measured first, and more of them only where there is room.
    """
    single = [(batch, 1) for batch in BATCHES]
    if best_streams == 1:
        return single
    streams = [(1, best_streams)]
    return [*single[:1], *streams, *single[1:]] if lean else [*streams, *single]


def _room_for_streams(plan: RunPlan, streams: int, limits: Limits) -> bool:
    """Whether memory holds for sure if each stream takes all that one session takes."""
    if limits.max_mem_bytes is None or streams == 1:
        return True
    if plan.session_bytes is None:
        return False
    return streams * plan.session_bytes + plan.input_bytes + plan.core_bytes <= limits.max_mem_bytes


def _overlaps(spec: ModelSpec) -> list[float]:
    """From the validated overlap down to the least allowed one."""
    least = spec.grid.min_overlap if spec.grid.min_overlap is not None else spec.grid.overlap
    steps = math.floor((spec.grid.overlap - least) / OVERLAP_STEP + 1e-9)
    found = [round(spec.grid.overlap - index * OVERLAP_STEP, 6) for index in range(steps + 1)]
    return found if abs(found[-1] - least) < 1e-9 else [*found, least]


def _plan(
    groups: tuple[Group, ...],
    warnings: tuple[str, ...],
    scans: Mapping[str, PreparedScan],
    core_bytes: int,
    overlap: float,
    batch: int,
    streams: int,
    *,
    cost_of: CostOf,
    rates: CoreRates,
) -> RunPlan:
    seconds, window_seconds, sessions, load_peaks = 0.0, 0.0, [0], [0]
    known = True
    for group in groups:
        cost, modalities = cost_of(group.modalities, batch, streams), len(group.modalities)
        # Streams work side by side: the last round takes a whole call's time, full or not.
        calls = math.ceil(math.ceil(len(group.starts) / batch) / streams) * streams
        seconds += calls * cost.batch_s + len(group.starts) * modalities * rates.window_s
        seconds += sum(scans[name].volume.stored.size for name in group.modalities) * rates.voxel_s
        window_seconds = max(window_seconds, cost.batch_s / batch + modalities * rates.window_s)
        if cost.running_bytes is None or cost.load_peak_bytes is None:
            known = False
        else:
            sessions.append(cost.running_bytes)
            load_peaks.append(cost.load_peak_bytes)
    input_bytes = sum(scan.volume.stored.nbytes for scan in scans.values())
    session = max(sessions) if known else None
    load_peak = max(load_peaks) if known else None
    total = None
    if session is not None and load_peak is not None:
        total = max(load_peak, math.ceil(RESERVE * (session + input_bytes + core_bytes)))
        if streams > 1:
            total = math.ceil(STREAMS_RESERVE * total)
    return RunPlan(
        groups=groups,
        warnings=warnings,
        overlap=overlap,
        batch=batch,
        streams=streams,
        session_bytes=session,
        input_bytes=input_bytes,
        core_bytes=core_bytes,
        load_peak_bytes=load_peak,
        total_bytes=total,
        seconds=seconds,
        window_seconds=window_seconds,
    )


def _kept_logits(group: Group, scans: Mapping[str, PreparedScan], *, spec: ModelSpec, threads: int) -> int:
    """Bytes of the logits of a constant window, which are kept to be used again; 0 where no window is constant.

    Sampling all windows takes a hundredth of what the network takes on them, and ends at the first constant one.
    """
    workers = Threads(threads)
    samplers = open_samplers(group, scans, spec=spec).values()
    for start in group.starts:
        if all(sampler.window(start, threads=workers)[1] is not None for sampler in samplers):
            return 4 * spec.classes.num_classes * math.prod(spec.grid.window_vox) * len(samplers)
    return 0


def _core_bytes(groups: Sequence[Group], scans: Mapping[str, PreparedScan], *, kept: Sequence[int]) -> int:
    """The largest moment: a group at work beside the labels and confidence of those before it."""
    largest = done = 0
    for group, logits in zip(groups, kept, strict=True):
        largest = max(largest, done + group.core_bytes + logits)
        done += sum(2 * scans[name].volume.stored.size for name in group.modalities)
    return largest


def _fits(plan: RunPlan, limits: Limits) -> bool:
    return _in_time(plan, limits) and _in_memory(plan, limits)


def _in_time(plan: RunPlan, limits: Limits) -> bool:
    return limits.deadline_s is None or plan.seconds * SAFETY <= limits.deadline_s


def _in_memory(plan: RunPlan, limits: Limits) -> bool:
    if limits.max_mem_bytes is None:
        return True
    return plan.total_bytes is not None and plan.total_bytes <= limits.max_mem_bytes


def _refusal(plans: Sequence[RunPlan], *, limits: Limits, spec: ModelSpec) -> PlanError:
    leanest = min(plans, key=lambda plan: plan.total_bytes or 0)
    fastest = min(plans, key=lambda plan: plan.seconds)
    if limits.max_mem_bytes is not None and leanest.total_bytes is None:
        return PlanError("this system does not say how much memory a process uses", mend="leave --max-mem out")
    wants, ways = [], []
    if limits.max_mem_bytes is not None and not _in_memory(leanest, limits):
        parts = (
            f"{_mb(leanest.session_bytes)} network, {_mb(leanest.input_bytes)} scans, {_mb(leanest.core_bytes)} core"
        )
        wants.append(f"{_mb(leanest.total_bytes)} ({parts}) where {_mb(limits.max_mem_bytes)} are allowed")
        ways.append(f"--max-mem {_mb(leanest.total_bytes, up=True).replace(' ', '')}")
    if limits.deadline_s is not None and not _in_time(fastest, limits):
        wants.append(
            f"{fastest.seconds:.1f} s for {fastest.windows} windows at overlap {fastest.overlap:g} (promised with "
            f"{SAFETY - 1:.0%} in hand) where {limits.deadline_s:.3g} s are allowed"
        )
        ways.append(f"--deadline {math.ceil(fastest.seconds * SAFETY * 1.05)}s")
    if not wants:  # each limit can be kept, but not both at once
        wants.append(f"{_mb(fastest.total_bytes)} to be in time, or {leanest.seconds:.1f} s to be lean enough")
        ways.append(f"--max-mem {_mb(fastest.total_bytes, up=True).replace(' ', '')}")
    hint = "" if spec.grid.min_overlap is not None else "; a bundle exported with --min-overlap could trade overlap"
    return PlanError(f"not started: the run would need {' and '.join(wants)}", mend=f"give {' '.join(ways)}{hint}")


def _mb(amount: int | None, *, up: bool = False) -> str:
    value = (amount or 0) / 1e6
    return f"{math.ceil(value * 1.01) if up else round(value)} MB"
