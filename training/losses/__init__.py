"""The losses of CMC and what to watch beside them. All are computed in FP32, under autocast too."""

from __future__ import annotations

from cmc_sdk.training.losses.cac import cac_loss
from cmc_sdk.training.losses.config import LossConfig, ResolvedLoss
from cmc_sdk.training.losses.csc import Descriptor, csc_loss
from cmc_sdk.training.losses.moments import moments_loss
from cmc_sdk.training.losses.monitor import channel_variance, foreground_ratio, fused_minus_alone
from cmc_sdk.training.losses.schedules import Weights, ramp_down, ramp_up, scheduled
from cmc_sdk.training.losses.supervised import supervised_loss

__all__ = [
    "Descriptor",
    "LossConfig",
    "ResolvedLoss",
    "Weights",
    "cac_loss",
    "channel_variance",
    "csc_loss",
    "foreground_ratio",
    "fused_minus_alone",
    "moments_loss",
    "ramp_down",
    "ramp_up",
    "scheduled",
    "supervised_loss",
]
