"""The four descriptors of CSC: zeros, inequalities, invariances."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.errors import InputError
from cmc_sdk.training.losses import Descriptor, csc_loss
from tests.reference import losses as reference
from tests.training.losses.samples import noise, smooth_features

DESCRIPTORS: tuple[Descriptor, ...] = get_args(Descriptor)


def variants() -> dict[str, torch.Tensor]:
    features = smooth_features()
    order = torch.randperm(512, generator=torch.Generator().manual_seed(5))
    channels = torch.randperm(32, generator=torch.Generator().manual_seed(6))
    return {
        "identical": features.clone(),
        "rolled": features.roll(2, dims=2),
        "shuffled": features.flatten(2)[..., order].view_as(features),
        "permuted": features[:, channels],
    }


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), batch=st.integers(1, 3), channels=st.integers(2, 6), size=st.integers(2, 4))
def test_equals_plain_mathematics_and_is_symmetric(
    descriptor: Descriptor, seed: int, batch: int, channels: int, size: int
) -> None:
    a, b = (noise(batch, channels, size, size, size, seed=seed + i) for i in range(2))
    given_value = float(csc_loss(a, b, descriptor))
    expected = reference.csc(a.double().numpy(), b.double().numpy(), descriptor)
    assert given_value == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert float(csc_loss(b, a, descriptor)) == pytest.approx(given_value, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(
    ("descriptor", "zeros"),
    [
        ("spatial", {"identical"}),
        ("quantile", {"identical", "rolled", "shuffled"}),
        ("gram", {"identical", "rolled", "shuffled"}),
    ],
)
def test_zeros(descriptor: Descriptor, zeros: set[str]) -> None:
    features = smooth_features()
    for name, other in variants().items():
        value = float(csc_loss(features, other, descriptor))
        if name in zeros:
            assert value < 1e-6, name
        else:
            assert value > 0.05, name


@pytest.mark.parametrize("descriptor", ["spatial", "nce"])
def test_the_less_alike_the_higher(descriptor: Descriptor) -> None:
    features = smooth_features()
    values = [float(csc_loss(features, other, descriptor)) for other in variants().values()]
    assert values == sorted(values)
    assert len(set(values)) == 4


def test_identical_features_do_not_give_zero_for_nce() -> None:
    features = smooth_features()
    assert float(csc_loss(features, features, "nce")) > 0.5


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_scale_of_a_channel_does_not_matter(descriptor: Descriptor) -> None:
    a, b = noise(2, 4, 3, 3, 3), noise(2, 4, 3, 3, 3, seed=1)
    factors = torch.tensor([0.1, 1.0, 3.0, 20.0]).view(1, 4, 1, 1, 1)
    assert float(csc_loss(a * factors, b, descriptor)) == pytest.approx(float(csc_loss(a, b, descriptor)), rel=1e-4)


@pytest.mark.parametrize("descriptor", ["gram", "quantile"])
def test_grids_may_differ(descriptor: Descriptor) -> None:
    assert 0 < float(csc_loss(noise(2, 4, 3, 3, 3), noise(2, 4, 4, 2, 5), descriptor)) < 2


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_constant_and_zero_channels_give_finite_gradients(descriptor: Descriptor) -> None:
    a, b = noise(1, 4, 3, 3, 3), noise(1, 4, 3, 3, 3, seed=1)
    a[:, 0], a[:, 1], b[:, 1] = 0.0, 2.0, 0.0
    a.requires_grad_()
    (gradient,) = torch.autograd.grad(csc_loss(a, b, descriptor), a)
    assert torch.isfinite(gradient).all()


def test_two_zero_channels_agree() -> None:
    zeros = torch.zeros(1, 4, 3, 3, 3)
    assert float(csc_loss(zeros, zeros, "spatial")) == 0.0


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_half_batches_average_to_the_whole(descriptor: Descriptor) -> None:
    a, b = noise(4, 4, 3, 3, 3), noise(4, 4, 3, 3, 3, seed=1)
    halves = (csc_loss(a[:2], b[:2], descriptor) + csc_loss(a[2:], b[2:], descriptor)) / 2
    torch.testing.assert_close(csc_loss(a, b, descriptor), halves)
    assert csc_loss(a, b, descriptor, reduction="none").shape == (4,)


def test_wrong_input_is_named() -> None:
    with pytest.raises(InputError, match="unknown CSC descriptor 'cosine'; use one of spatial"):
        csc_loss(noise(1, 2, 3, 3, 3), noise(1, 2, 3, 3, 3), "cosine")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="use descriptor 'gram' or 'quantile'"):
        csc_loss(noise(1, 2, 3, 3, 3), noise(1, 2, 4, 3, 3), "spatial")
    with pytest.raises(InputError, match="differ in batch or channels"):
        csc_loss(noise(1, 2, 3, 3, 3), noise(1, 3, 3, 3, 3), "gram")
