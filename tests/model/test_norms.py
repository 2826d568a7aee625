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
