"""A scan of the gate, and what somebody answers to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.pairing import ScanPairing
from cmc_sdk.runtime.core import Threads
from cmc_sdk.runtime.scans.prepared import PreparedScan, prepare_scan
from cmc_sdk.threads import usable_threads

__all__ = ["Answer", "CaseKind", "Masks", "ParityCase", "Subset", "subsets_of"]

CaseKind = Literal["real", "golden", "stress"]
Subset = tuple[str, ...]
Masks = Mapping[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class ParityCase:
    """One scan of the gate.

    Args:
        name: For tables.
        images: By modality.
        pairing: How they are labelled together.
        kind: `real`, where every voxel counts; `golden`, synthetic; or `stress`, run with all modalities only.
        undecided: By subset of modalities and modality, (X, Y, Z), voxels of a golden scan whose f32 labels are not
            compared, where they are known; else the reference is asked.
    """

    name: str
    images: Mapping[str, Volume]
    pairing: ScanPairing
    kind: CaseKind = "real"
    undecided: Mapping[Subset, Masks] = field(default_factory=dict)
    _ready: dict[str, PreparedScan] = field(default_factory=dict, init=False, repr=False, compare=False)

    def subsets(self, names: Sequence[str]) -> list[Subset]:
        """The subsets of its modalities that the gate runs, of a network with the modalities `names`."""
        present = tuple(name for name in names if name in self.images)
        return [present] if self.kind == "stress" else subsets_of(present)

    def scans(self, present: Subset, *, spec: ModelSpec) -> dict[str, PreparedScan]:
        """The scans of `present`, each made ready once, however often and by however many backends it is labelled."""
        for name in present:
            rule = spec.modality(name).intensity
            if name not in self._ready or self._ready[name].rule != rule:
                self._ready[name] = prepare_scan(self.images[name], rule=rule, threads=Threads(usable_threads()))
        return {name: self._ready[name] for name in present}


@dataclass(frozen=True)
class Answer:
    """Labels and confidences of one scan, by modality."""

    labels: Mapping[str, Volume]
    confidence: Mapping[str, Volume]


def subsets_of(names: Sequence[str]) -> list[Subset]:
    """All modalities together, then each alone: the subsets that the gate runs."""
    alone: list[Subset] = [(name,) for name in names]
    return [tuple(names), *alone] if len(names) > 1 else alone
