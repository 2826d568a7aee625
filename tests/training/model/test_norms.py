"""InstanceNorm is exact where the statistics are hard, and lays its output out channels-last."""

from __future__ import annotations

import pytest
import torch

from cmc_sdk.training.model.norms import InstanceNorm


@pytest.mark.parametrize("mean", [0.0, 3.0, 30.0])
def test_instance_norm_equals_double_precision(mean: float) -> None:
    x = torch.randn(2, 4, 64, 64, 64, generator=torch.Generator().manual_seed(0)) + mean
    exact = x.double()
    exact = exact - exact.mean((2, 3, 4), keepdim=True)
    exact = exact / (exact.square().mean((2, 3, 4), keepdim=True) + 1e-5).sqrt()
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        found = InstanceNorm(4)(x.contiguous(memory_format=layout)).detach()
        assert found.is_contiguous(memory_format=torch.channels_last_3d)
        assert float((found.double() - exact).abs().max()) < 1e-5


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_instance_norm_has_the_gradient_of_its_formula(batch: int, layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    x, incoming = (torch.randn(batch, 4, 6, 5, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    x = x.contiguous(memory_format=layout).requires_grad_()
    norm = InstanceNorm(4).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0, generator=generator)
    centred = x - x.mean((2, 3, 4), keepdim=True)
    plain = centred / (centred.square().mean((2, 3, 4), keepdim=True) + 1e-5).sqrt() * norm.weight.view(-1, 1, 1, 1)
    for outgoing in (torch.contiguous_format, torch.channels_last_3d):
        given = incoming.contiguous(memory_format=outgoing)
        found = torch.autograd.grad(norm(x), [x, norm.weight], given)
        expected = torch.autograd.grad(plain, [x, norm.weight], given, retain_graph=True)
        for a, b in zip(found, expected, strict=True):
            assert torch.allclose(a, b, rtol=1e-9, atol=1e-9)
