"""The losses' configuration: what is left out takes the default for how the data's modalities pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from cmc_sdk.pairing import CasePairing
from cmc_sdk.strict_model import StrictModel
from cmc_sdk.training.losses.csc import Descriptor
from cmc_sdk.training.losses.schedules import ClockName, ScheduleName

__all__ = ["LossConfig", "ResolvedLoss"]


CacMode = Literal["world", "body", "moments", "off"]
Weight = Annotated[float, Field(ge=0.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True)
class ResolvedLoss:
    """A `LossConfig` with every default filled in; fields as there."""

    cac: CacMode
    csc_descriptor: Descriptor
    csc_temperature: float
    csc_on_labelled: bool
    w_csc: float
    w_cac: float
    schedule: ScheduleName
    clock: ClockName
    ramp_fraction: float
    as_released: bool
    w_mean_teacher: float
    ema_decay: float
    w_cps: float


class LossConfig(StrictModel):
    """L = L_sup + w_csc·L_CSC + w_cac·L_CAC, and the weights of the peers' losses. None means the pairing's default.

    Args:
        cac: How predictions are compared. `world`: voxel by voxel on the same physical box; `body`: voxel by voxel on
            the same body-normalised position; `moments`: volume and shape only; `off`. Default: `world` for registered
            pairs, `moments` otherwise.
        csc_descriptor: What of a feature channel is compared. Default: `spatial` for registered pairs, else `gram`.
        csc_temperature: τ of the descriptor `nce`.
        csc_on_labelled: Add CSC on the labelled samples too.
        w_csc: Weight of CSC; keep it ≤ .5.
        w_cac: Weight of CAC, or of `moments`.
        schedule: `rampup` (both weights rise and stay) or `paper` (CSC rises, CAC falls).
        clock: The schedule's time: that of `stage` 3, or `global`.
        ramp_fraction: Share of the time over which `rampup` rises.
        aligned: Assert that modalities which the data list does not call registered correspond voxel by voxel.
        as_released: The control experiment: both consistency terms are computed without gradient.
        w_mean_teacher: Weight of Mean Teacher's consistency (method mean_teacher only).
        ema_decay: Decay of the teacher's moving average (method mean_teacher only).
        w_cps: Weight of cross pseudo supervision (method cps only).
    """

    cac: CacMode | None = None
    csc_descriptor: Descriptor | None = None
    csc_temperature: Annotated[float, Field(gt=0.0)] = 0.5
    csc_on_labelled: bool = False
    w_csc: Weight = 0.5
    w_cac: Weight = 0.5
    schedule: ScheduleName = "rampup"
    clock: ClockName = "stage"
    ramp_fraction: Fraction = 0.4
    aligned: bool = False
    as_released: bool = False
    w_mean_teacher: Weight = 10.0
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    w_cps: Weight = 0.5

    def resolve(self, pairing: CasePairing) -> tuple[ResolvedLoss, tuple[str, ...]]:
        """Fill in the defaults for `pairing` and say what is known to go wrong with the choice.

        Returns:
            The complete settings, and one sentence per warning (empty if there is nothing to say).
        """
        registered = pairing == "registered"
        resolved = ResolvedLoss(
            cac=self.cac or ("world" if registered else "moments"),
            csc_descriptor=self.csc_descriptor or ("spatial" if registered else "gram"),
            csc_temperature=self.csc_temperature,
            csc_on_labelled=self.csc_on_labelled,
            w_csc=self.w_csc,
            w_cac=self.w_cac,
            schedule=self.schedule,
            clock=self.clock,
            ramp_fraction=self.ramp_fraction,
            as_released=self.as_released,
            w_mean_teacher=self.w_mean_teacher,
            ema_decay=self.ema_decay,
            w_cps=self.w_cps,
        )
        return resolved, tuple(_warnings(resolved, pairing=pairing, aligned=self.aligned or registered))


def _warnings(loss: ResolvedLoss, *, pairing: CasePairing, aligned: bool) -> list[str]:
    found = []
    if loss.w_cac > 0 and loss.cac == "world" and not aligned:
        found.append(
            f"cac: world compares voxel by voxel, but the data list says {pairing}: without correspondence it costs"
            " Dice in both modalities; register the pairs, set aligned: true if they are aligned, or use cac: moments"
        )
    if loss.w_cac > 0 and loss.cac == "body" and not aligned:
        found.append(
            f"cac: body compares different anatomy voxel by voxel ({pairing} data): it was measured to harm strongly;"
            " use cac: moments"
        )
    if loss.w_csc > 0 and loss.csc_descriptor in ("spatial", "nce") and not aligned:
        found.append(
            f"csc_descriptor: {loss.csc_descriptor} compares voxel by voxel, but the data list says {pairing};"
            " use gram, or set aligned: true"
        )
    if loss.w_csc > 0.5:
        found.append(f"w_csc: {loss.w_csc:g} is above .5, the highest weight at which CSC was seen to be neutral")
    if loss.cac != "off" and loss.w_cac > 1:
        found.append(f"w_cac: {loss.w_cac:g} is high: a weight of 2 was measured to harm the stronger modality")
    if loss.clock == "global" and loss.w_csc + loss.w_cac > 0:
        found.append("clock: global starts the schedule long before stage 3: it was measured to cost Dice; use stage")
    if loss.as_released:
        found.append("as_released: true is a control experiment: no gradient of CSC or CAC reaches the network")
    return found
