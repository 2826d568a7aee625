"""Semi-supervised methods, one a file: CMC, and the peers that it is compared with."""

from __future__ import annotations

from cmc_sdk.training.methods.build import MethodName, build_method
from cmc_sdk.training.methods.cmc import CMC
from cmc_sdk.training.methods.cps import CrossPseudoSupervision
from cmc_sdk.training.methods.mean_teacher import MeanTeacher
from cmc_sdk.training.methods.presence import drop_modalities
from cmc_sdk.training.methods.protocol import LossTerms, Method, StepClock
from cmc_sdk.training.methods.supervised import Supervised

__all__ = [
    "CMC",
    "CrossPseudoSupervision",
    "LossTerms",
    "MeanTeacher",
    "Method",
    "MethodName",
    "StepClock",
    "Supervised",
    "build_method",
    "drop_modalities",
]
