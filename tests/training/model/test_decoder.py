"""The decoders: pre-trained start, budget, no batch statistics."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cmc_sdk.training.model import ModelConfig, ReleasedNetwork, build_network
from cmc_sdk.training.model.config import PRESETS
from cmc_sdk.training.model.decoder import SamMed3DDecoder
from cmc_sdk.training.model.network import CMCNetwork
from tests.training.model.networks import cnn, noise, tiny


def sam_upscaling(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """SAM's `output_upscaling`, from its keys."""
    functional = torch.nn.functional
    x = functional.conv_transpose3d(x, state["0.weight"], state["0.bias"], stride=2)
    mean, variance = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    weight, bias = (state[f"1.{kind}"].reshape(1, -1, 1, 1, 1) for kind in ("weight", "bias"))
    x = functional.gelu((x - mean) / torch.sqrt(variance + 1e-6) * weight + bias)
    return functional.gelu(functional.conv_transpose3d(x, state["3.weight"], state["3.bias"], stride=2))


def test_step_zero_is_the_pretrained_upscaling() -> None:
    preset = PRESETS["tiny"]
    decoder = SamMed3DDecoder(preset, num_classes=3)
    seen: list[torch.Tensor] = []
    decoder.late_stages[0].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    features = noise(1, preset.channels, 2, 2, 2)
    skips = [noise(1, preset.dim, 2, 2, 2, seed=1), noise(1, preset.dim, 2, 2, 2, seed=2)]
    decoder(features, skips, noise(1, 1, 16, 16, 16))
    expected = sam_upscaling(decoder.output_upscaling.state_dict(), features)
    torch.testing.assert_close(seen[0], expected, rtol=1e-5, atol=1e-5)


def test_skips_and_image_get_and_give_gradient() -> None:
    preset = PRESETS["tiny"]
    decoder = SamMed3DDecoder(preset, num_classes=3)
    image = noise(1, 1, 16, 16, 16).requires_grad_()
    skips = [noise(1, preset.dim, 2, 2, 2, seed=seed) for seed in (1, 2)]
    weight = noise(1, 3, 16, 16, 16, seed=3)
    (decoder(noise(1, preset.channels, 2, 2, 2), skips, image) * weight).sum().backward()
    assert image.grad.abs().max() > 0
    for projection in decoder.skip_projections:
        assert projection.weight.grad.abs().max() > 0


def test_base_upscaling_has_the_public_shapes() -> None:
    with torch.device("meta"):
        decoder = SamMed3DDecoder(PRESETS["base"], num_classes=3)
    shapes = {key: tuple(value.shape) for key, value in decoder.output_upscaling.state_dict().items()}
    assert shapes == {
        "0.weight": (384, 96, 2, 2, 2),
        "0.bias": (96,),
        "1.weight": (96,),
        "1.bias": (96,),
        "3.weight": (96, 48, 2, 2, 2),
        "3.bias": (48,),
    }


def test_base_decoder_keeps_its_budget() -> None:
    """79.9 GFLOP with 16 classes; at most 100 per 128³ window and modality."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        decoder = SamMed3DDecoder(PRESETS["base"], num_classes=16)
        skips = [torch.empty(1, 768, 8, 8, 8)] * 3
        logits = decoder(torch.empty(1, 384, 8, 8, 8), skips, torch.empty(1, 1, 128, 128, 128))
    assert logits.shape == (1, 16, 128, 128, 128)
    assert 75e9 < counter.get_total_flops() < 85e9


@pytest.mark.parametrize("network", [tiny(), cnn(), ReleasedNetwork(3)], ids=["tiny", "cnn", "released"])
def test_there_is_no_batch_norm(network: torch.nn.Module) -> None:
    assert not any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in network.modules())


def test_base_network_has_no_batch_norm_and_adapters_in_every_block() -> None:
    with torch.device("meta"):
        network = CMCNetwork(ModelConfig(), modalities=("ct", "mr"), num_classes=5)
    kinds = [type(module).__name__ for module in network.modules()]
    assert not any("BatchNorm" in kind for kind in kinds)
    assert kinds.count("Adapter") == 24


def test_unet3d_of_width_64_has_the_public_channels() -> None:
    with torch.device("meta"):
        network = CMCNetwork(ModelConfig(backbone="unet3d"), modalities=("ct",), num_classes=5)
        released = ReleasedNetwork(5)
    own = {key: tuple(value.shape) for key, value in network.encoders[0].state_dict().items()}
    theirs = {
        key: tuple(value.shape)
        for key, value in released.image_encoder.state_dict().items()
        if "running" not in key and "tracked" not in key
    }
    assert own == theirs
    ups = {key: tuple(value.shape) for key, value in network.decoders[0].state_dict().items() if "up_tr" in key}
    theirs = {
        key: tuple(value.shape)
        for key, value in released.decoder.state_dict().items()
        if "up_tr" in key and "running" not in key and "tracked" not in key
    }
    assert ups == theirs


def test_unet3d_skips_are_deepest_first() -> None:
    network = build_network(ModelConfig(backbone="unet3d", width=8, window_vox=32), modalities=("ct",), num_classes=4)
    encoded = network.encode("ct", noise(1, 1, 32, 32, 32))
    assert encoded.features.shape == (1, 64, 4, 4, 4)
    assert [tuple(skip.shape[1:]) for skip in encoded.skips] == [(32, 8, 8, 8), (16, 16, 16, 16), (8, 32, 32, 32)]
