"""Building a network: weights come from the seed, and a configuration that contradicts itself is refused."""

from __future__ import annotations

import pytest
import torch

from cmc_sdk.errors import ConfigError
from cmc_sdk.training.model import ModelConfig, build_network, model_faults
from tests.training.model.networks import cnn


def test_weights_come_from_the_seed_and_leave_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = cnn(seed=3), cnn(seed=3), cnn(seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert not torch.equal(first.mia.phi2.weight, other.mia.phi2.weight)


def test_a_contradictory_configuration_lists_every_fault() -> None:
    for config in (ModelConfig(preset="tiny", train_mlp=False), ModelConfig(preset="tiny", freeze=True)):
        with pytest.raises(ConfigError, match=r"freezes weights that were never trained; set pretrained"):
            build_network(config, modalities=["ct"], num_classes=2)
    wrong = ModelConfig(backbone="unet3d", width=6, window_vox=20, adapters=True)
    assert len(model_faults(wrong)) == 3
    with pytest.raises(ConfigError, match=r"window_vox 20.*width 6.*adapters: true"):
        build_network(wrong, modalities=["ct"], num_classes=2)
    config = ModelConfig(preset="tiny")
    with pytest.raises(ConfigError, match=r"one to three different names"):
        build_network(config, modalities=["ct", "ct"], num_classes=2)
    with pytest.raises(ConfigError, match=r"num_classes 1; give at least 2"):
        build_network(config, modalities=["ct"], num_classes=1)
