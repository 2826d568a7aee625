"""A stand-in that takes its time, as a network does, and can turn slower."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from benchmarks.inference.case import StandIn, stand_in_centres
from cmc_sdk.bundle.manifest import Grid, ModalitySpec, ModelSpec
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.runtime.backends.base import DecoderInputs

WINDOW_S = 0.03


def slow_spec() -> ModelSpec:
    """One modality, windows of 48³, and an overlap that may fall to .25."""
    return ModelSpec(
        modalities=(ModalitySpec(name="ct", dicom_modality="CT"),),
        reference_modality="ct",
        classes=ClassTable.from_names([f"class_{index}" for index in range(1, len(stand_in_centres()))]),
        grid=Grid(spacing_mm=(1.5, 1.5, 2.0), window_vox=(48, 48, 48), overlap=0.5, min_overlap=0.25),
    )


class SlowStandIn(StandIn):
    """`StandIn` with a pause; `pace` stretches it, `seconds` keeps what windows took."""

    def __init__(self) -> None:
        self.pace = 1.0
        self.seconds: list[float] = []

    def decode(self, modality: str, inputs: DecoderInputs) -> npt.NDArray[np.float32]:
        """As `StandIn.decode`, later."""
        since = time.perf_counter()
        time.sleep(WINDOW_S * self.pace * len(inputs.window))
        logits = super().decode(modality, inputs)
        self.seconds.append(time.perf_counter() - since)
        return logits
