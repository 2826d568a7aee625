"""Single modules of the network as ONNX graphs: what the tests of half precision look at."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import torch
from torch import nn

from cmc_sdk.export.graphs import export_module
from cmc_sdk.export.precision.view import GraphView
from cmc_sdk.training.model.attention import GridAttention
from cmc_sdk.training.model.mia import Mia

GRID, DIM, CHANNELS = 3, 16, 6


class Decoded(nn.Module):
    """MIA and a last convolution, as a decoder has them: features (B, C, g, g, g) → logits."""

    def __init__(self) -> None:
        super().__init__()
        self.mia = Mia(CHANNELS)
        self.out = nn.Conv3d(CHANNELS, 3, kernel_size=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        mixed, _ = self.mia(features)
        return self.out(mixed)


class Attended(nn.Module):
    """A norm and an attention, with padding or without: tokens (B, g, g, g, dim) → the same."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(DIM)
        self.attn = GridAttention(DIM, heads=2, grid=GRID, window=window)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.attn(self.norm1(tokens))


def attended(*, window: int = GRID + 2, scale: float = 1.0) -> Attended:
    """With random weights; those of the relative position times `scale`."""
    with torch.random.fork_rng():
        torch.manual_seed(3)  # of the module's own beginning
        module = Attended(window)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_((scale if "rel_pos" in name else 0.3) * noise)
    return module.eval()


@cache
def attention_graph(*, window: int = GRID + 2, scale: float = 1.0) -> bytes:
    tokens = torch.zeros(1, GRID, GRID, GRID, DIM)
    return export_module(
        attended(window=window, scale=scale), inputs={"h": tokens}, outputs=("y",), name="attention.onnx"
    )


@cache
def decoder_graph() -> bytes:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        module = Decoded()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    features = torch.zeros(1, CHANNELS, GRID, GRID, GRID)
    return export_module(module.eval(), inputs={"features": features}, outputs=("logits",), name="decoder.onnx")


def view_of(content: bytes) -> GraphView:
    return GraphView(onnx.load_model_from_string(content), name="graph.onnx")


def tokens(batch: int = 2, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, GRID, GRID, GRID, DIM)).astype(np.float32)


def features(batch: int = 2, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, CHANNELS, GRID, GRID, GRID)).astype(np.float32)


def run(content: bytes | onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    import onnxruntime

    data = content if isinstance(content, bytes) else content.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, inputs)[0]
    return found
