"""Networks as safetensors: the same network comes back, and another one is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cmc_sdk.errors import CheckpointError, InputError
from cmc_sdk.training.model import ModelConfig, build_network, load_network, restore_network, save_network
from tests.training.model.networks import cnn, randomise, tiny, windows


@pytest.mark.parametrize("build", [tiny, cnn])
def test_what_was_saved_comes_back(tmp_path: Path, build: type) -> None:
    network = randomise(build(("t1", "t2", "flair"), num_classes=4)).eval()
    save_network(network, tmp_path / "net.safetensors")
    again = load_network(tmp_path / "net.safetensors").eval()
    assert (again.modalities, again.num_classes, again.config) == (network.modalities, 4, network.config)
    images = windows(network)
    with torch.no_grad():
        for name, logits in network(images).logits.items():
            assert torch.equal(again(images).logits[name], logits)
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_a_saved_network_does_not_need_its_public_checkpoint(tmp_path: Path) -> None:
    network = tiny()
    network.config = network.config.model_copy(update={"pretrained": "gone.pth"})
    save_network(network, tmp_path / "net.safetensors")
    again = load_network(tmp_path / "net.safetensors")
    assert not again.encoders[0].pos_embed.requires_grad
    assert torch.equal(again.encoders[0].pos_embed, network.encoders[0].pos_embed)


def test_another_network_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_network(tiny(), path)
    small = build_network(ModelConfig(preset="small", window_vox=16), modalities=["ct", "mr"], num_classes=3)
    with pytest.raises(CheckpointError, match=r"another network: preset tiny instead of small;"):
        restore_network(small, path)
    with pytest.raises(CheckpointError, match=r"backbone sam_med3d instead of unet3d"):
        restore_network(cnn(), path)
    with pytest.raises(CheckpointError, match=r"num_classes 3 instead of 5"):
        restore_network(tiny(num_classes=5), path)
    with pytest.raises(CheckpointError, match=r"modalities \['ct', 'mr'\] instead of \['mr', 'ct'\]"):
        restore_network(tiny(("mr", "ct")), path)
    other = randomise(tiny(seed=1))
    restore_network(other, path)
    assert torch.equal(other.mia.gamma, tiny().mia.gamma)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_network(cnn(), path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:1000], whole[:-10]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"net\.safetensors: damaged or truncated"):
            load_network(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"not a network of cmc-sdk"):
        load_network(path)
    with pytest.raises(CheckpointError, match=r"no such file"):
        load_network(tmp_path / "absent.safetensors")
    with pytest.raises(InputError, match=r"folder does not exist"):
        save_network(cnn(), tmp_path / "absent" / "net.safetensors")
