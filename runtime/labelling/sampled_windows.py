"""The windows of scans, sampled and normalised as the network is given them.

Who calls what: `open_samplers` is labelling's and planning's own; `sampled_windows` is for whoever needs real windows
and no labels, as `cmc_sdk.export.precision` does to calibrate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.runtime.backends.base import Array
from cmc_sdk.runtime.core import Threads, WindowSampler
from cmc_sdk.runtime.labelling.window_plan import Group, WindowPlan
from cmc_sdk.runtime.scans.prepared import PreparedScan

__all__ = ["open_samplers", "sampled_windows"]


def open_samplers(group: Group, scans: Mapping[str, PreparedScan], *, spec: ModelSpec) -> dict[str, WindowSampler]:
    """A sampler for each scan of a group, ready at its first window."""
    return {
        name: WindowSampler(
            scans[name].volume,
            grid=group.grid,
            window_vox=spec.grid.window_vox,
            starts=group.starts,
            rule=scans[name].rule,
            statistics=scans[name].statistics,
        )
        for name in group.modalities
    }


def sampled_windows(
    scans: Mapping[str, PreparedScan], *, plan: WindowPlan, spec: ModelSpec, threads: Threads
) -> Iterator[dict[str, Array]]:
    """Every window of a plan in the order in which it would run, (X, Y, Z) f32 by modality of its group.

    Args:
        scans: By modality.
        plan: For these scans.
        spec: Of the network.
        threads: To sample on.
    """
    for group in plan.groups:
        samplers = open_samplers(group, scans, spec=spec)
        for start in group.starts:
            yield {name: sampler.window(start, threads=threads)[0] for name, sampler in samplers.items()}
