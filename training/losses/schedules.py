"""How the weights of the consistency losses move during training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["ClockName", "ScheduleName", "Weights", "ramp_down", "ramp_up", "scheduled"]

ScheduleName = Literal["rampup", "paper"]
"""`rampup`: both weights rise over `ramp_fraction` and stay; `paper`: CSC rises, CAC falls, over the whole time."""

ClockName = Literal["stage", "global"]
"""Which time t ∈ [0, 1] a schedule reads: that of the running stage or that of the whole training."""


@dataclass(frozen=True)
class Weights:
    """Factors in [0, 1] that multiply w_csc and w_cac."""

    csc: float
    cac: float


def ramp_up(t: float) -> float:
    """exp(−5 (1 − t)²), t clamped to [0, 1]: from .0067 to 1."""
    return math.exp(-5.0 * (1.0 - _clamped(t)) ** 2)


def ramp_down(t: float) -> float:
    """½ (1 + cos πt), t clamped to [0, 1]: from 1 to 0."""
    return 0.5 * (1.0 + math.cos(math.pi * _clamped(t)))


def scheduled(name: ScheduleName, t: float, *, ramp_fraction: float) -> Weights:
    """The factors at time t.

        rampup:  csc = cac = exp(−5 (1 − min(t / ramp_fraction, 1))²)
        paper:   csc = exp(−5 (1 − t)²),  cac = ½ (1 + cos πt)

    Args:
        name: Which schedule.
        t: Time in [0, 1] by the chosen clock.
        ramp_fraction: Share of the time over which `rampup` rises, in [0, 1]; 0 starts at the full weight.
    """
    if name == "paper":
        return Weights(csc=ramp_up(t), cac=ramp_down(t))
    factor = ramp_up(t / ramp_fraction) if ramp_fraction > 0 else 1.0
    return Weights(csc=factor, cac=factor)


def _clamped(t: float) -> float:
    return min(max(t, 0.0), 1.0)
