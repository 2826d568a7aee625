"""The methods that there are, one row each, and one call that makes one by its name."""

from __future__ import annotations

from collections.abc import Callable

from cmc_sdk.errors import ConfigError
from cmc_sdk.pairing import CasePairing
from cmc_sdk.training.losses import LossConfig
from cmc_sdk.training.methods.base import Method, MethodSettings, Traits
from cmc_sdk.training.methods.cmc import CMC
from cmc_sdk.training.methods.cps import CrossPseudoSupervision
from cmc_sdk.training.methods.mean_teacher import MeanTeacher
from cmc_sdk.training.methods.supervised import Supervised
from cmc_sdk.training.model import CMCNetwork

__all__ = ["METHODS", "build_method", "method_traits", "methods_with", "one_of"]

METHODS: dict[str, type[Method]] = {row.name: row for row in (CMC, Supervised, MeanTeacher, CrossPseudoSupervision)}
"""By the name that configurations use. A class says what its method needs (`traits`) and makes one (`build`)."""


def method_traits(name: str) -> Traits:
    """What must be known of the method `name`.

    Raises:
        ConfigError: There is no such method.
    """
    return _row(name).traits


def methods_with(condition: Callable[[Traits], bool]) -> list[str]:
    """Names of the methods whose traits meet `condition`, in the catalogue's order."""
    return [name for name, row in METHODS.items() if condition(row.traits)]


def one_of(names: list[str], *, word: str = "or") -> str:
    """Names as a sentence lists them: `a`, `a or b`, `a, b or c`."""
    return f" {word} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def build_method(
    name: str,
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
        name: One of the catalogue's.
        network: The network.
        loss: Weights and choices; what is None takes the default for `pairing`. Its warnings are for the caller to
            show (`LossConfig.resolve`).
        pairing: How the data list says that modalities relate.
        seed: Of the run; `cps` initialises its second network with seed + 1.
        modality_dropout: Probability in [0, 1] that a labelled sample loses one modality.
        partner: The second network of a method that trains one, if it is not to be built from the first one's
            configuration.

    Raises:
        ConfigError: An unknown method, or one that compares modalities on a single modality.
    """
    row = _row(name)
    if row.traits.needs_pairs and len(network.modalities) < 2:
        raise ConfigError(
            f"method {name} compares modalities, the network has only {network.modalities[0]!r}",
            mend=f"use method: {one_of(methods_with(lambda traits: not traits.needs_pairs))}",
        )
    resolved, _ = loss.resolve(pairing)
    settings = MethodSettings(loss=resolved, modality_dropout=modality_dropout, seed=seed, partner=partner)
    return row.build(network, settings=settings)


def _row(name: str) -> type[Method]:
    if name not in METHODS:
        raise ConfigError(f"unknown method {name!r}", mend=f"use one of {', '.join(METHODS)}")
    return METHODS[name]
