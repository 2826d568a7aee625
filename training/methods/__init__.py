"""Semi-supervised methods, one a file: CMC, and the peers that it is compared with."""

from __future__ import annotations

from cmc_sdk.training.methods.base import LossTerms, Method, Step, Traits
from cmc_sdk.training.methods.catalogue import METHODS, build_method, method_traits, methods_with, one_of
from cmc_sdk.training.methods.cmc import CMC
from cmc_sdk.training.methods.cps import CrossPseudoSupervision
from cmc_sdk.training.methods.mean_teacher import MeanTeacher
from cmc_sdk.training.methods.presence import drop_modalities
from cmc_sdk.training.methods.supervised import Supervised

__all__ = [
    "CMC",
    "METHODS",
    "CrossPseudoSupervision",
    "LossTerms",
    "MeanTeacher",
    "Method",
    "Step",
    "Supervised",
    "Traits",
    "build_method",
    "drop_modalities",
    "method_traits",
    "methods_with",
    "one_of",
]
