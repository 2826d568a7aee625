"""The released code's network: its logits, from its checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cmc_sdk.errors import CheckpointError, InputError
from cmc_sdk.training.model import ReleasedNetwork, load_released_checkpoint
from tests.reference import released_forward
from tests.training.model.networks import noise, randomise, relative


@pytest.fixture(scope="module")
def released() -> ReleasedNetwork:
    network = randomise(ReleasedNetwork(5), scale=0.02)
    with torch.no_grad():
        network.MIA_module.gamma.fill_(0.7)
    return network.eval()


def test_logits_are_those_of_batch_statistics_at_batch_one(released: ReleasedNetwork) -> None:
    a, b = noise(1, 1, 16, 16, 16), noise(1, 1, 16, 16, 16, seed=1)
    with torch.no_grad():
        expected = released_forward.forward(released.state_dict(), a, b)
        for given, wanted in zip(released(a, b), expected, strict=True):
            assert relative(given, wanted) < 1e-4


def test_logits_do_not_depend_on_batch_mates_or_mode(released: ReleasedNetwork) -> None:
    a, b = noise(2, 1, 16, 16, 16), noise(2, 1, 16, 16, 16, seed=1)
    with torch.no_grad():
        together = released(a, b)
        for given, wanted in zip(released(a[:1], b[:1]), together, strict=True):
            assert relative(given, wanted[:1]) < 1e-5
        released.train()
        assert torch.equal(released(a, b)[0], together[0])
        released.eval()


@pytest.mark.parametrize("held", [True, False])
def test_a_checkpoint_gives_the_number_of_classes(tmp_path: Path, released: ReleasedNetwork, held: bool) -> None:
    state = {f"module.{key}": value for key, value in released.state_dict().items()}
    torch.save({"epoch": 3, "best_acc": np.float64(0.5), "state_dict": state} if held else state, tmp_path / "model.pt")
    network = load_released_checkpoint(tmp_path / "model.pt")
    assert not network.training
    assert network.decoder.out_tr.conv.conv.out_channels == 5
    own = released.state_dict()
    assert len(own) == 125
    assert all(torch.equal(value, own[key]) for key, value in network.state_dict().items())


def test_another_model_is_refused(tmp_path: Path, released: ReleasedNetwork) -> None:
    state = released.state_dict()
    del state["MIA_module.gamma"]
    torch.save(state | {"query.weight": torch.zeros(1)}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"missing: MIA_module\.gamma.*unknown: query\.weight"):
        load_released_checkpoint(tmp_path / "model.pt")


def test_windows_of_different_shapes_are_refused(released: ReleasedNetwork) -> None:
    with pytest.raises(InputError, match=r"give both the same shape"):
        released(noise(1, 1, 16, 16, 16), noise(1, 1, 16, 16, 8))
    with pytest.raises(InputError, match=r"multiples of 8"):
        released(noise(1, 1, 12, 16, 16), noise(1, 1, 12, 16, 16))
