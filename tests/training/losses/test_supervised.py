"""DiceCE with absent classes."""

from __future__ import annotations

import pytest
import torch
from monai.losses import DiceCELoss

from cmc_sdk.errors import InputError
from cmc_sdk.training.losses import supervised_loss
from tests.reference import losses as reference
from tests.training.losses.samples import noise


def labels(*, batch: int = 2, classes: int = 4, size: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, classes, (batch, size, size, size), generator=torch.Generator().manual_seed(seed))


def test_equals_plain_mathematics_with_absent_classes() -> None:
    logits, target = noise(3, 4, 5, 5, 5), labels(batch=3)
    target[0][target[0] == 2] = 0
    target[1] = 0
    expected = reference.supervised(logits.double().numpy(), target.numpy())
    assert float(supervised_loss(logits, target)) == pytest.approx(expected, rel=1e-5)


def test_is_monai_where_every_class_is_present() -> None:
    logits, target = noise(2, 4, 5, 5, 5), labels()
    monai = DiceCELoss(to_onehot_y=True, softmax=True, squared_pred=True)(logits, target[:, None])
    assert float(supervised_loss(logits, target)) == pytest.approx(float(monai), rel=1e-6)


def test_dice_ignores_an_absent_class_and_cross_entropy_does_not() -> None:
    logits = noise(1, 3, 4, 4, 4).requires_grad_()
    target = torch.zeros(1, 4, 4, 4, dtype=torch.int64)
    (gradient,) = torch.autograd.grad(supervised_loss(logits, target), logits)
    assert (gradient[:, 2] > 0).all()  # the only pull on an absent class is downwards, from cross-entropy
    present_only = reference.supervised(logits.detach().double().numpy(), target.numpy())
    assert float(supervised_loss(logits.detach(), target)) == pytest.approx(present_only, rel=1e-5)


def test_half_batches_average_to_the_whole() -> None:
    logits, target = noise(4, 4, 5, 5, 5), labels(batch=4)
    target[0] = 0
    target[3][target[3] == 1] = 3
    whole = supervised_loss(logits, target)
    halves = (supervised_loss(logits[:2], target[:2]) + supervised_loss(logits[2:], target[2:])) / 2
    torch.testing.assert_close(whole, halves)
    torch.testing.assert_close(supervised_loss(logits, target, reduction="none").mean(), whole)


def test_wrong_shapes_and_values_are_named() -> None:
    with pytest.raises(InputError, match=r"target has shape \(1, 4, 4\)"):
        supervised_loss(noise(1, 3, 4, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64))
    target = labels()
    target[0, 0, 0, 0], target[0, 0, 0, 1] = 5, 0
    with pytest.raises(InputError, match="values 0 … 5, the network has classes 0 … 3"):
        supervised_loss(noise(2, 4, 5, 5, 5), target)
