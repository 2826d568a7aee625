"""What labelling is told to do: which scans go together, on which model grid, in which windows, how many at once.

`cmc_sdk.runtime.planning` decides it; a plan with the bytes and seconds that a run takes is one of these, and more.
"""

from __future__ import annotations

from dataclasses import dataclass

from cmc_sdk.runtime.core import ModelGrid

__all__ = ["Group", "WindowPlan"]


@dataclass(frozen=True)
class Group:
    """Scans that are labelled together: a pair in one frame of reference, or one scan by itself.

    Args:
        modalities: Those present, in the network's order.
        grid: The model grid.
        starts: First voxels of all windows, in the order in which they run: along the ring's axis first.
        ring_axis: The grid's longest axis.
        core_bytes: What the core holds at most while it labels the group, labels and confidence included; the
            network's memory, logits that are kept, and the scans themselves are not in it.
    """

    modalities: tuple[str, ...]
    grid: ModelGrid
    starts: tuple[tuple[int, int, int], ...]
    ring_axis: int
    core_bytes: int


@dataclass(frozen=True)
class WindowPlan:
    """How scans are run.

    Args:
        groups: Scans that are labelled together, with their windows; at least one.
        warnings: Of the pairing.
        batch: Windows in one call of the network, at least 1.
        streams: Calls at once, at least 1.
    """

    groups: tuple[Group, ...]
    warnings: tuple[str, ...]
    batch: int
    streams: int

    @property
    def windows(self) -> int:
        """Windows of all groups."""
        return sum(len(group.starts) for group in self.groups)
