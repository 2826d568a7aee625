"""Whose labels are the measure of the gate."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.errors import BackendError
from cmc_sdk.runtime.backends.base import Backend
from cmc_sdk.runtime.gate.case import Answer, Masks, ParityCase, Subset
from cmc_sdk.runtime.gate.probes import ScanningBackend
from cmc_sdk.runtime.gate.undecided import undecided_voxels
from cmc_sdk.runtime.segmenter import Segmenter

__all__ = ["MARGINS", "BackendReference", "Reference", "label_case"]

MARGINS: Mapping[str, float] = MappingProxyType({"f32": 0.005, "fp16": 0.15, "bf16": 0.3, "int8": 0.6})
"""Of synthetic scans only: a voxel whose two best logits lie closer than this is undecided in that precision.

In logits, and the gate's own: which voxels are compared, not how many of those may flip, which a bundle's limits say.
Of such scans a network knows nothing, and between two classes rounding decides. On real windows of good networks the
largest differences of logits were 0.0009, 0.002, 0.04 and 0.1; where a scan is one value, a normalisation divides by
next to nothing, and fp16 was seen to move logits by 0.05 to 0.15. Undecided are then up to 5 % of all voxels.
"""


class Reference(Protocol):
    """Whose labels are the measure."""

    @property
    def name(self) -> str:
        """For messages: `torch 2.13.0`, `onnxruntime f32`."""
        ...

    @property
    def not_finite(self) -> Mapping[tuple[str, str], int]:
        """NaN and infinite values of its own, by (graph, output)."""
        ...

    def label(self, case: ParityCase, present: Subset) -> Answer | None:
        """Its labels; None where its own outputs are not finite."""
        ...

    def undecided(self, case: ParityCase, present: Subset, *, precision: str) -> Masks:
        """Voxels that are not compared in a precision, by modality; a modality that is not named has none."""
        ...


class BackendReference:
    """A backend that all others are held against; each case is labelled once, however many precisions follow.

    Args:
        spec: Of the network.
        backend: Whose labels are the measure.
        name: For messages.
    """

    def __init__(self, spec: ModelSpec, backend: Backend, *, name: str) -> None:
        self.spec = spec
        self.name = name
        self.backend = backend
        self._scanned = ScanningBackend(backend)
        self._answers: dict[tuple[str, Subset], Answer | None] = {}
        self._undecided: dict[tuple[str, Subset, float], Masks] = {}

    @property
    def not_finite(self) -> Mapping[tuple[str, str], int]:
        """As `Reference.not_finite`."""
        return self._scanned.not_finite

    def label(self, case: ParityCase, present: Subset) -> Answer | None:
        """As `Reference.label`."""
        key = (case.name, present)
        if key not in self._answers:
            self._answers[key] = label_case(self._scanned, case, present, spec=self.spec)
        return self._answers[key]

    def undecided(self, case: ParityCase, present: Subset, *, precision: str) -> Masks:
        """As `Reference.undecided`: none on a real scan, where every voxel counts."""
        if case.kind == "real":
            return {}
        if precision == "f32" and present in case.undecided:
            return case.undecided[present]
        margin = MARGINS[precision]
        key = (case.name, present, margin)
        if key not in self._undecided:
            scans = case.scans(present, spec=self.spec)
            self._undecided[key] = undecided_voxels(
                scans, spec=self.spec, reference=self.backend, margin=margin, pairing=case.pairing
            )
        return self._undecided[key]


def label_case(scanned: ScanningBackend, case: ParityCase, present: Subset, *, spec: ModelSpec) -> Answer | None:
    """The case's labels; None where logits are not finite: the segmenter stops there, and the scan has the count."""
    before = sum(scanned.not_finite.values())
    try:
        result = Segmenter(spec, scanned).infer(case.scans(present, spec=spec), pairing=case.pairing)
    except BackendError:
        if sum(scanned.not_finite.values()) > before:
            return None
        raise
    return Answer(result.labels, result.confidence)
