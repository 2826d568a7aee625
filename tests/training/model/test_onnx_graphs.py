"""The network exports as it stands: single normalisation operators, dynamic batch, the same values."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from cmc_sdk.training.model import CMCNetwork, Encoded
from tests.training.model.networks import cnn, noise, randomise, tiny

pytestmark = pytest.mark.slow


class EncoderGraph(nn.Module):
    def __init__(self, network: CMCNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        features, skips = self.network.encode("ct", image)
        return features, *skips


class DecoderGraph(nn.Module):
    def __init__(self, network: CMCNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, ct: Tensor, mr: Tensor, presence: Tensor, image: Tensor, skips: list[Tensor]) -> Tensor:
        encoded = Encoded(ct, tuple(skips))
        features = {"ct": ct, "mr": mr}
        return self.network.decode("ct", features=features, presence=presence, encoded=encoded, image=image)


def export(module: nn.Module, inputs: tuple[object, ...], path: Path) -> tuple[Counter[str], list[str]]:
    batch = torch.export.Dim("batch", min=1, max=16)
    shapes = tuple([{0: batch}] * len(item) if isinstance(item, list) else {0: batch} for item in inputs)
    torch.onnx.export(module.eval(), inputs, path, dynamo=True, opset_version=18, dynamic_shapes=shapes, verbose=False)
    graph = onnx.load(path, load_external_data=False).graph
    return Counter(node.op_type for node in graph.node), [item.name for item in graph.input]


def run(path: Path, names: list[str], inputs: list[Tensor]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    return session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})


@pytest.mark.parametrize(("build", "layer_norms"), [(tiny, 10), (cnn, 0)], ids=["tiny", "cnn"])
def test_graphs_equal_the_network(tmp_path: Path, build: type, layer_norms: int) -> None:
    network = randomise(build(), scale=0.05).eval()
    with torch.no_grad():
        image = noise(2, 1, *network.window_vox)
        encoded, other = network.encode("ct", image), network.encode("mr", image.flip(2))
        presence = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
        encoder_ops, encoder_names = export(EncoderGraph(network), (image,), tmp_path / "encoder.onnx")
        inputs = (encoded.features, other.features, presence, image, list(encoded.skips))
        decoder_ops, decoder_names = export(DecoderGraph(network), inputs, tmp_path / "decoder.onnx")

    assert encoder_ops["LayerNormalization"] == layer_norms
    norms = sum(isinstance(module, nn.InstanceNorm3d) for module in network.decoders[0].modules())
    assert decoder_ops["InstanceNormalization"] == norms + 2 + 1  # and MIA of both modalities, and fusion
    for ops in (encoder_ops, decoder_ops):
        assert not set(ops) & {"BatchNormalization", "Attention", "GroupNormalization", "If", "Loop"}

    for batch in (1, 3):
        image = noise(batch, 1, *network.window_vox, seed=batch)
        presence = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])[:batch]
        with torch.no_grad():
            encoded, other = network.encode("ct", image), network.encode("mr", image.flip(2))
            features = {"ct": encoded.features, "mr": other.features}
            logits = network.decode("ct", features=features, presence=presence, encoded=encoded, image=image)
        given = run(tmp_path / "encoder.onnx", encoder_names, [image])
        for one, expected in zip(given, (encoded.features, *encoded.skips), strict=True):
            np.testing.assert_allclose(one, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
        tensors = [encoded.features, other.features, presence, image, *encoded.skips]
        (given_logits,) = run(tmp_path / "decoder.onnx", decoder_names, tensors)
        np.testing.assert_allclose(given_logits, logits, rtol=0, atol=1e-4 * float(logits.abs().max()))
