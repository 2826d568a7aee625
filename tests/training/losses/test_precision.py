"""Every loss is FP32 inside: half inputs under autocast give what the same numbers give in plain mathematics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cmc_sdk.training.losses import Descriptor, cac_loss, csc_loss, moments_loss, supervised_loss
from tests.reference import losses as reference
from tests.training.losses.samples import body, noise, prediction

Array = npt.NDArray[np.float64]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Plain = Callable[[Array, Array], float]

TARGET = (noise(2, 8, 8, 8, seed=3) > 0.5).long()
BODY = body(2), body(2, seed=1)


def features(seed: int) -> torch.Tensor:
    """The squared norm of a channel is beyond the largest half, 65504."""
    return 100 * noise(2, 8, 6, 6, 6, seed=seed)


def predictions(seed: int) -> torch.Tensor:
    return prediction(2, 3, 8, 8, 8, seed=seed)


def logits(seed: int) -> torch.Tensor:
    return 10 * noise(2, 3, 8, 8, 8, seed=seed)


def csc_with(descriptor: Descriptor) -> tuple[Loss, Plain, Callable[[int], torch.Tensor]]:
    return (
        lambda a, b: csc_loss(a, b, descriptor),
        lambda a, b: reference.csc(a, b, descriptor),
        features,
    )


LOSSES: dict[str, tuple[Loss, Plain, Callable[[int], torch.Tensor]]] = {
    "spatial": csc_with("spatial"),
    "quantile": csc_with("quantile"),
    "gram": csc_with("gram"),
    "nce": csc_with("nce"),
    "cac": (cac_loss, reference.cac, predictions),
    "moments": (
        lambda a, b: moments_loss(a, b, body_a=BODY[0], body_b=BODY[1]),
        lambda a, b: reference.moments(a, b, BODY[0].double().numpy(), BODY[1].double().numpy()),
        predictions,
    ),
    "supervised": (
        lambda a, b: supervised_loss(a, TARGET),
        lambda a, b: reference.supervised(a, TARGET.numpy()),
        logits,
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_half_inputs_under_autocast_lose_nothing(name: str) -> None:
    loss, plain, make = LOSSES[name]
    a, b = make(0).half(), make(1).half()
    expected = plain(a.double().numpy(), b.double().numpy())
    a.requires_grad_()
    with torch.autocast("cpu", dtype=torch.float16):
        value = loss(a, b)
    assert value.dtype == torch.float32
    assert float(value.detach()) == pytest.approx(expected, rel=2e-5)
    (gradient,) = torch.autograd.grad(value, a)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0
