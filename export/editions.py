"""Editions of a bundle: the same network in one precision, how its graphs are made, and on what they must keep parity.

An export makes the f32 graphs first and holds them against the trained network. Every further edition is made from
those, and held against ONNX Runtime f32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.bundle.precision import DEFAULT_LIMITS, GateLimits, Precision
from cmc_sdk.export.graphs import ExportedGraph
from cmc_sdk.export.parity import ParityCase
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.backends.base import Backend

__all__ = ["Edition", "Made", "Material"]


@dataclass(frozen=True)
class Material:
    """What an edition is made from.

    Args:
        spec: Of the network.
        graphs: The f32 graphs, which have passed the gate.
        reference: ONNX Runtime f32 on them.
        cases: Real scans: what an edition is calibrated on.
        synthetic: The golden scan: like a scan of the modality, like no patient.
        progress: Called with (stage, done, total), or None.
    """

    spec: ModelSpec
    graphs: tuple[ExportedGraph, ...]
    reference: Backend
    cases: Sequence[ParityCase]
    synthetic: ParityCase
    progress: Progress | None = None


@dataclass(frozen=True)
class Made:
    """What an edition adds to the bundle.

    Args:
        graphs: Its graphs; none where a backend computes the precision from the f32 graphs.
        checks: Further backends that the gate runs beside those of the edition, by name: they are not shipped, but must
            keep the limits too.
        report: What was measured on the way, for `parity.json`.
    """

    graphs: tuple[ExportedGraph, ...] = ()
    checks: Mapping[str, Backend] = field(default_factory=dict)
    report: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Edition:
    """One precision of a bundle.

    Args:
        precision: Its name.
        backends: Which run it in the gate; each that passes is listed in the manifest.
        make: Makes it.
        limits: Of parity.
    """

    precision: Precision
    backends: tuple[str, ...]
    make: Callable[[Material], Made]
    limits: GateLimits

    @classmethod
    def with_default_limits(
        cls, precision: Precision, *, backends: tuple[str, ...], make: Callable[[Material], Made]
    ) -> Edition:
        """An edition held to `DEFAULT_LIMITS`."""
        return cls(precision, backends, make, DEFAULT_LIMITS[precision])
