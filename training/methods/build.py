"""One call that makes a method by its name."""

from __future__ import annotations

from typing import Literal, get_args

from cmc_sdk.errors import ConfigError
from cmc_sdk.pairing import CasePairing
from cmc_sdk.training.losses import LossConfig
from cmc_sdk.training.methods.cmc import CMC
from cmc_sdk.training.methods.cps import CrossPseudoSupervision
from cmc_sdk.training.methods.mean_teacher import MeanTeacher
from cmc_sdk.training.methods.protocol import Method
from cmc_sdk.training.methods.supervised import Supervised
from cmc_sdk.training.model import CMCNetwork, build_network

__all__ = ["MethodName", "build_method"]

MethodName = Literal["cmc", "supervised", "mean_teacher", "cps"]


def build_method(
    name: MethodName,
    *,
    network: CMCNetwork,
    loss: LossConfig,
    pairing: CasePairing,
    seed: int,
    modality_dropout: float,
    partner: CMCNetwork | None = None,
) -> Method:
    """Make a method round `network`, which it trains in place.

    Args:
        name: `cmc`, `supervised`, `mean_teacher` or `cps`.
        network: The network.
        loss: Weights and choices; what is None takes the default for `pairing`. Its warnings are for the caller to
            show (`LossConfig.resolve`).
        pairing: How the data list says that modalities relate.
        seed: Of the run; `cps` initialises its second network with seed + 1.
        modality_dropout: Probability in [0, 1] that a labelled sample loses one modality.
        partner: The second network of `cps`, if it is not to be built from the first one's configuration.

    Raises:
        ConfigError: An unknown method, or `cmc` on a single modality.
    """
    if name not in get_args(MethodName):
        raise ConfigError(f"unknown method {name!r}", mend=f"use one of {', '.join(get_args(MethodName))}")
    resolved, _ = loss.resolve(pairing)
    if name == "supervised":
        return Supervised(network, modality_dropout=modality_dropout)
    if name == "mean_teacher":
        return MeanTeacher(network, loss=resolved, modality_dropout=modality_dropout)
    if name == "cps":
        second = partner if partner is not None else _second_network(network, seed=seed + 1)
        return CrossPseudoSupervision(network, partner=second, loss=resolved, modality_dropout=modality_dropout)
    if len(network.modalities) < 2:
        raise ConfigError(
            f"method cmc compares modalities, the network has only {network.modalities[0]!r}",
            mend="use method: supervised, mean_teacher or cps",
        )
    return CMC(network, loss=resolved, modality_dropout=modality_dropout)


def _second_network(network: CMCNetwork, *, seed: int) -> CMCNetwork:
    second = build_network(network.config, modalities=network.modalities, num_classes=network.num_classes, seed=seed)
    return second.to(next(network.parameters()).device)
