"""Loading public weights: everything or nothing, and a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch

from cmc_sdk.errors import CheckpointError
from cmc_sdk.training.model import ModelConfig, build_encoder, build_network, load_sam_med3d, load_unet3d
from cmc_sdk.training.model.config import PRESETS, PresetName
from cmc_sdk.training.model.encoder import SamMed3DEncoder
from tests.training.model.networks import cnn, noise, tiny, windows
from tests.training.model.test_encoder import public_shapes


def fake_sam(preset: PresetName, *, window_vox: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the public names, with some of the tensors that we have no use for."""
    with torch.device("meta"):
        encoder = SamMed3DEncoder(PRESETS[preset], window_vox=window_vox, adapters=False)
    shapes = {f"image_encoder.{key}": tuple(value.shape) for key, value in encoder.state_dict().items()}
    channels = PRESETS[preset].channels
    upscaling = {
        "0.weight": (channels, channels // 4, 2, 2, 2),
        "0.bias": (channels // 4,),
        "1.weight": (channels // 4,),
        "1.bias": (channels // 4,),
        "3.weight": (channels // 4, channels // 8, 2, 2, 2),
        "3.bias": (channels // 8,),
    }
    shapes |= {f"mask_decoder.output_upscaling.{key}": shape for key, shape in upscaling.items()}
    shapes |= {"prompt_encoder.not_a_point_embed.weight": (1, channels), "mask_decoder.iou_token.weight": (1, channels)}
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.randn(shape, generator=generator) * 0.02 for key, shape in shapes.items()}


def public_file(path: Path, state: dict[str, torch.Tensor], **more: Any) -> Path:
    """Laid out as the public file: states of optimizer and scheduler and a Namespace beside the weights."""
    content = {
        "epoch": 199,
        "model_state_dict": {f"module.{key}": value for key, value in state.items()},
        "optimizer_state_dict": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 8e-4}]},
        "lr_scheduler_state_dict": {"last_epoch": 199, "milestones": [120, 180]},
        "losses": [0.5, 0.4],
        "args": argparse.Namespace(task_name="union", img_size=128, gpu_ids=[0, 1], resume=False),
    }
    torch.save({**content, **more}, path)
    return path


UNUSED = ("mask_decoder.iou_token.weight", "prompt_encoder.not_a_point_embed.weight")


def test_the_public_layout_fills_every_encoder_and_decoder(tmp_path: Path) -> None:
    state = fake_sam("tiny", window_vox=16)
    network = tiny()
    report = load_sam_med3d(network, public_file(tmp_path / "sam.pth", state))
    assert report.unexpected == UNUSED
    assert report.missing == ()
    assert set(report.matched) == set(state) - set(UNUSED)
    for encoder, decoder in zip(network.encoders, network.decoders, strict=True):
        for key, value in encoder.state_dict().items():
            if ".adapter." not in key:
                assert torch.equal(value, state[f"image_encoder.{key}"]), key
        for key, value in decoder.output_upscaling.state_dict().items():
            assert torch.equal(value, state[f"mask_decoder.output_upscaling.{key}"]), key


@pytest.mark.parametrize("prefix", ["", "image_encoder.", "module.image_encoder."])
def test_a_bare_state_dict_fills_an_encoder(tmp_path: Path, prefix: str) -> None:
    state = {
        key.removeprefix("image_encoder."): value
        for key, value in fake_sam("tiny", window_vox=48).items()
        if key.startswith("image_encoder.")
    }
    torch.save({prefix + key: value for key, value in state.items()}, tmp_path / "encoder.pth")
    encoder = build_encoder("tiny", adapters=True)
    report = load_sam_med3d(encoder, tmp_path / "encoder.pth")
    assert len(report.matched) == len(state)
    assert report.missing == report.unexpected == ()
    assert torch.equal(encoder.pos_embed, state["pos_embed"])


def test_decoders_stay_fresh_and_are_reported_without_a_mask_decoder(tmp_path: Path) -> None:
    state = {key: value for key, value in fake_sam("tiny", window_vox=16).items() if "mask_decoder" not in key}
    network = tiny()
    before = network.decoders[0].output_upscaling[0].weight.clone()
    report = load_sam_med3d(network, public_file(tmp_path / "sam.pth", state))
    assert len(report.missing) == 6
    assert all(key.startswith("mask_decoder.output_upscaling.") for key in report.missing)
    assert torch.equal(network.decoders[0].output_upscaling[0].weight, before)


@pytest.mark.slow
def test_all_189_tensors_of_base(tmp_path: Path) -> None:
    state = fake_sam("base", window_vox=128)
    public = {f"image_encoder.{key}" for key in public_shapes()}
    encoder = build_encoder("base")
    report = load_sam_med3d(encoder, public_file(tmp_path / "sam_med3d_turbo.pth", state))
    assert set(report.matched) == public
    assert len(report.matched) == 189
    assert all(torch.equal(value, state[f"image_encoder.{key}"]) for key, value in encoder.state_dict().items())


def test_one_missing_tensor_loads_nothing(tmp_path: Path) -> None:
    state = fake_sam("tiny", window_vox=16)
    del state["image_encoder.blocks.2.attn.rel_pos_h"]
    path = public_file(tmp_path / "sam.pth", state)
    encoder = build_encoder("tiny", window_vox=16)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"sam\.pth.*1 of \d+ missing: image_encoder\.blocks\.2\.attn\.rel_pos_h"):
        load_sam_med3d(encoder, path)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_a_checkpoint_of_another_preset_is_named(tmp_path: Path) -> None:
    path = public_file(tmp_path / "sam.pth", fake_sam("small", window_vox=64))
    with pytest.raises(CheckpointError, match=r"checkpoint is of preset small with window_vox 64, the network of pres"):
        load_sam_med3d(tiny(), path)
    path = public_file(tmp_path / "other.pth", fake_sam("tiny", window_vox=48))
    with pytest.raises(CheckpointError, match=r"preset tiny with window_vox 48, .* preset tiny with window_vox 16"):
        load_sam_med3d(tiny(), path)


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this must never be printed",))


def test_nothing_in_a_file_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = public_file(tmp_path / "evil.pth", fake_sam("tiny", window_vox=16), args=Exploit())
    with pytest.raises(CheckpointError, match=r"evil\.pth: cannot be read as plain tensors"):
        load_sam_med3d(tiny(), path)
    assert capsys.readouterr().out == ""


def test_unreadable_files_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = public_file(tmp_path / "whole.pth", fake_sam("tiny", window_vox=16)).read_bytes()
    cases = {"text.pth": b"not a checkpoint", "empty.pth": b"", "cut.pth": whole[: len(whole) // 2]}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"{name}: cannot be read") as caught:
            load_sam_med3d(tiny(), tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match=r"no such file"):
        load_sam_med3d(tiny(), tmp_path / "absent.pth")
    torch.save({"epoch": 3}, tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match=r"holds no state dict"):
        load_sam_med3d(tiny(), tmp_path / "nothing.pth")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = fake_sam("tiny", window_vox=16)
    state["image_encoder.neck.0.weight"][0] = float("nan")
    with pytest.raises(CheckpointError, match=r"NaN or infinity in image_encoder\.neck\.0\.weight"):
        load_sam_med3d(tiny(), public_file(tmp_path / "sam.pth", state))


def test_pretrained_freezes_and_only_then(tmp_path: Path) -> None:
    path = public_file(tmp_path / "sam.pth", fake_sam("tiny", window_vox=16))
    config = ModelConfig(preset="tiny", window_vox=16, pretrained=str(path))
    network = build_network(config, modalities=["ct", "mr"], num_classes=3)
    frozen = {key for key, value in network.named_parameters() if not value.requires_grad}
    assert {key.split(".")[2] for key in frozen} == {"patch_embed", "pos_embed", "blocks"}
    assert all(".attn." in key for key in frozen if ".blocks." in key)
    trainable = {id(parameter) for parameter in network.trainable_parameters()}
    assert trainable == {id(value) for key, value in network.named_parameters() if key not in frozen}
    assert len(tiny().trainable_parameters()) == len(list(tiny().parameters()))
    sum(logits.square().mean() for logits in network(windows(network)).logits.values()).backward()
    assert all(value.grad is None for key, value in network.named_parameters() if key in frozen)


def test_without_mlp_and_norms_all_encoders_share_one_base(tmp_path: Path) -> None:
    path = public_file(tmp_path / "sam.pth", fake_sam("tiny", window_vox=16))
    config = ModelConfig(preset="tiny", window_vox=16, pretrained=str(path), train_mlp=False)
    network = build_network(config, modalities=["ct", "mr"], num_classes=3)
    trained = [key for key, value in network.encoders[0].named_parameters() if value.requires_grad]
    assert all(".adapter." in key or key.startswith("neck.") for key in trained)


def test_public_unet_fills_width_64(tmp_path: Path) -> None:
    network = build_network(ModelConfig(backbone="unet3d", window_vox=16), modalities=["ct", "mr"], num_classes=3)
    own = network.encoders[0].state_dict() | {
        key: value for key, value in network.decoders[0].state_dict().items() if key.startswith("up_tr")
    }
    state = {key: noise(*value.shape, seed=index) for index, (key, value) in enumerate(own.items())}
    more = {"down_tr64.ops.0.bn1.running_mean": torch.zeros(32), "out_tr.final_conv.bias": torch.zeros(1)}
    torch.save({f"module.backbone.{key}": value for key, value in {**state, **more}.items()}, tmp_path / "unet.pth")
    report = load_unet3d(network, tmp_path / "unet.pth")
    assert set(report.matched) == set(state)
    assert report.unexpected == tuple(sorted(more))
    assert torch.equal(network.encoders[1].down_tr512.ops[1].conv1.weight, state["down_tr512.ops.1.conv1.weight"])
    with pytest.raises(CheckpointError, match=r"other shape: down_tr64.*build with width 64"):
        load_unet3d(cnn(), tmp_path / "unet.pth")
    with pytest.raises(CheckpointError, match=r"load_sam_med3d needs the sam_med3d backbone"):
        load_sam_med3d(cnn(), tmp_path / "unet.pth")
