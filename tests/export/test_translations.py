"""Operators that are written in another way than torch's exporter writes them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from cmc_sdk.export.graphs import export_module
from cmc_sdk.training.model.norms import InstanceNorm


def half_air(size: tuple[int, int, int]) -> torch.Tensor:
    """Noise, and one value in two thirds of the volume, as in a window around a head."""
    image = torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(0))
    image[:, :, : 2 * size[0] // 3] = -0.6
    return image


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 64, 64), (48, 40, 36), (7, 5, 3), (13, 17, 19), (1, 1, 9)])
@pytest.mark.parametrize("mean", [0.0, 20.0])
def test_instance_norm_is_as_exact_as_torch(size: tuple[int, int, int], mean: float) -> None:
    module = InstanceNorm(4).eval()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([1.0, -0.5, 2.0, 0.1]))
        module.bias.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5]))
        image = half_air(size) + mean
        exact = nn.functional.instance_norm(
            image.double(), weight=module.weight.double(), bias=module.bias.double(), eps=module.eps
        )
    content = export_module(module, inputs={"x": image}, outputs=("y",), name="norm.onnx")
    for batch in (1, 3):
        repeated = np.repeat(image.numpy(), batch, axis=0)
        (given,) = onnxruntime.InferenceSession(content).run(None, {"x": repeated})
        np.testing.assert_allclose(given, np.repeat(exact.numpy(), batch, axis=0), atol=2e-4 if mean else 1e-5)


@pytest.mark.parametrize(
    ("conv", "merged"),
    [
        (nn.Conv3d(1, 4, kernel_size=1), True),
        (nn.Conv3d(1, 4, kernel_size=3, padding=1), False),
        (nn.Conv3d(4, 4, kernel_size=1, groups=4), False),
    ],
)
@pytest.mark.slow
def test_a_norm_of_multiples_of_one_channel_is_that_of_the_channel(conv: nn.Conv3d, merged: bool) -> None:
    norm = InstanceNorm(4)
    with torch.no_grad():
        conv.weight.mul_(torch.tensor([1.0, -3.0, 1e-3, 0.0]).reshape(4, 1, 1, 1, 1))
        norm.weight.copy_(torch.tensor([1.0, -0.5, 2.0, 0.1]))
        norm.bias.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5]))
    module = nn.Sequential(conv, norm).eval()
    image = half_air((32, 24, 20))[:, : conv.in_channels]
    with torch.no_grad():
        exact = module.double()(image.double()).numpy()
    content = export_module(module.float(), inputs={"x": image}, outputs=("y",), name="norm.onnx")
    assert ("Conv" not in [node.op_type for node in onnx.load_model_from_string(content).graph.node]) is merged
    (given,) = onnxruntime.InferenceSession(content).run(None, {"x": image.numpy()})
    # What a convolution rounds of a channel of little spread, a norm makes large.
    np.testing.assert_allclose(given, exact, atol=2e-5 if merged else 1e-3)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("value", [0.1, pytest.param(-7.3, marks=SLOW), pytest.param(1e4, marks=SLOW)])
def test_a_map_of_one_value_becomes_the_bias_and_nothing_else(value: float) -> None:
    """Any rest is made 300 times as large by the next norm, and again by the one after it."""
    module = InstanceNorm(4).eval()
    with torch.no_grad():
        module.bias.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5]))
        image = torch.full((1, 4, 16, 12, 16), value)
    content = export_module(module, inputs={"x": image}, outputs=("y",), name="norm.onnx")
    (given,) = onnxruntime.InferenceSession(content).run(None, {"x": image.numpy()})
    assert np.array_equal(given, np.broadcast_to(module.bias.detach().numpy()[:, None, None, None], image.shape))
