"""The released network as one graph."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from cmc_sdk.errors import InputError
from cmc_sdk.export import export_released
from cmc_sdk.training.model import ReleasedNetwork


def test_a_window_that_does_not_fit_and_a_path_that_exists(tmp_path: Path) -> None:
    network = ReleasedNetwork(3)
    with pytest.raises(InputError, match="multiples of 8"):
        export_released(network, tmp_path / "released.onnx", window_vox=(16, 16, 12))
    (tmp_path / "there.onnx").write_bytes(b"")
    with pytest.raises(InputError, match="exists already"):
        export_released(network, tmp_path / "there.onnx", window_vox=(16, 16, 16))


@pytest.mark.slow
def test_one_graph_with_the_same_logits(tmp_path: Path) -> None:
    network = ReleasedNetwork(3)
    torch.nn.init.constant_(network.MIA_module.gamma, 0.3)
    difference = export_released(network, tmp_path / "released.onnx", window_vox=(16, 16, 16))
    assert difference <= 1e-4
    graph = onnx.load(tmp_path / "released.onnx").graph
    assert [item.name for item in graph.input] == ["image_a", "image_b"]
    assert [item.name for item in graph.output] == ["logits_a", "logits_b"]
