"""MIA and fusion against plain mathematics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cmc_sdk.training.model.fusion import Fusion, MissingTokens
from cmc_sdk.training.model.mia import Mia
from tests.reference import channel_attention as reference
from tests.training.model.networks import noise, randomise, relative


def plain(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {key: value.double().numpy() for key, value in module.state_dict().items()}


def test_mia_equals_the_plain_mathematics() -> None:
    module = randomise(Mia(6), scale=0.3)
    features = noise(2, 6, 3, 3, 3)
    given, attention = module(features)
    for sample in range(2):
        expected, weights = reference.mia(plain(module), features[sample].double().numpy())
        np.testing.assert_allclose(given[sample].detach(), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(attention[sample].detach(), weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fusion_equals_the_plain_mathematics(count: int) -> None:
    module = randomise(Fusion(count, channels=8, combine="add"), scale=0.3)
    features = [noise(1, 8, 3, 3, 3, seed=index) for index in range(count)]
    expected = reference.fused(plain(module), [one[0].double().numpy() for one in features])
    fused = module.fused(features)
    np.testing.assert_allclose(fused[0].detach(), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(module.combined(features[0], fused=fused), features[0] + fused)


def test_concat_gives_own_and_fused_their_own_weights() -> None:
    module = Fusion(2, channels=16, combine="concat")
    own, fused = noise(1, 16, 2, 2, 2), noise(1, 16, 2, 2, 2, seed=1)
    norm, _, convolution = module.convert
    stacked = torch.cat([fused, own], dim=1)
    expected = convolution(torch.relu(torch.nn.functional.group_norm(stacked, 16, norm.weight, norm.bias)))
    torch.testing.assert_close(module.combined(own, fused=fused), expected)


@pytest.mark.parametrize(("log_tau", "tau"), [(math.log(0.2), 0.2), (-9.0, 0.05), (3.0, 1.0)])
def test_tau_is_kept_in_its_range_and_can_come_back(log_tau: float, tau: float) -> None:
    module = Mia(4)
    with torch.no_grad():
        module.log_tau.fill_(log_tau)
    value = module.tau()
    assert float(value.detach()) == pytest.approx(tau)
    value.backward()
    assert module.log_tau.grad is not None
    assert module.log_tau.grad > 0


def test_mia_starts_with_gradients_for_every_phi() -> None:
    module = Mia(4)
    assert float(module.gamma.detach()) == pytest.approx(0.01)
    assert float(module.tau().detach()) == pytest.approx(0.2)
    module(noise(1, 4, 3, 3, 3))[0].square().sum().backward()
    for key, parameter in module.named_parameters():
        if key != "phi1.0.bias":  # InstanceNorm takes a constant out again
            assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_norm_product_and_softmax_are_single_precision_under_autocast(dtype: torch.dtype) -> None:
    """V's norm overflows FP16 (values of 300 over 512 voxels and more): A must not notice."""
    module = randomise(Mia(6), scale=0.3)
    features = 300 * noise(1, 6, 4, 4, 4)
    with torch.autocast("cpu", dtype=dtype):
        given, attention = module(features)
    given.float().sum().backward()
    assert attention.dtype == torch.float32
    torch.testing.assert_close(attention.sum(-1), torch.ones(1, 6))
    assert relative(attention, module(features)[1]) < 0.05
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_a_constant_channel_gives_finite_gradients() -> None:
    module = Mia(4)
    features = torch.zeros(1, 4, 3, 3, 3, requires_grad=True)
    module(features)[0].sum().backward()
    assert features.grad.isfinite().all()


def test_the_token_replaces_absent_features_whatever_they_hold() -> None:
    module = MissingTokens(2, channels=3)
    features = noise(2, 3, 2, 2, 2)
    features[1] = math.nan
    features.requires_grad_()
    out = module(features, index=1, presence=torch.tensor([True, False]))
    assert torch.equal(out[0], features[0])
    assert torch.equal(out[1], module.tokens[1].reshape(3, 1, 1, 1).expand(3, 2, 2, 2))
    out.sum().backward()
    assert features.grad.isfinite().all()
    assert features.grad[1].abs().max() == 0
    assert module.tokens.grad[1].tolist() == [8.0, 8.0, 8.0]
