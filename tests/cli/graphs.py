"""ONNX graphs written by hand: a segmenter that needs no training, no torch and no time to export."""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.bundle.precision import Tensor

WINDOW = 16
POOL = 8


def make_graph(
    part: Literal["encoder", "decoder"], modality: str, *, modalities: tuple[str, ...]
) -> tuple[Graph, bytes]:
    """Encoder: means over 8³ blocks. Decoder: a convolution of the window and every present modality's means."""
    nodes, constants = _encoder() if part == "encoder" else _decoder(modalities)
    window = ("window", (None, 1, *(WINDOW,) * 3))
    grid = (None, 1, *(WINDOW // POOL,) * 3)
    if part == "encoder":
        inputs, outputs = [window], [("features", grid)]
    else:
        inputs = [*((f"features_{name}", grid) for name in modalities), ("presence", (None, len(modalities))), window]
        outputs = [("logits", (None, 3, *(WINDOW,) * 3))]
    graph = helper.make_graph(
        nodes,
        f"{part}_{modality}",
        [_value(*item) for item in inputs],
        [_value(*item) for item in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    entry = Graph(
        path=f"graphs/f32/{part}_{modality}.onnx",
        part=part,
        modality=modality,
        precision="f32",
        opset=18,
        inputs=tuple(Tensor(name=name, dtype="float32", shape=shape) for name, shape in inputs),
        outputs=tuple(Tensor(name=name, dtype="float32", shape=shape) for name, shape in outputs),
    )
    return entry, model.SerializeToString()


def _encoder() -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    pool = helper.make_node("AveragePool", ["window"], ["features"], kernel_shape=[POOL] * 3, strides=[POOL] * 3)
    return [pool], {}


def _decoder(modalities: tuple[str, ...]) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    constants = {
        "scales": np.array([1, 1, POOL, POOL, POOL], np.float32),
        "weight": rng.normal(0, 1, (3, 1 + len(modalities), 3, 3, 3)).astype(np.float32),
        "bias": np.array([0.5, 0.0, 0.0], np.float32),
        "column": np.array([-1, 1, 1, 1, 1], np.int64),
    }
    nodes, layers = [], ["window"]
    for place, name in enumerate(modalities):
        constants[f"place_{name}"] = np.array([place], np.int64)
        nodes += [
            helper.make_node("Resize", [f"features_{name}", "", "scales"], [f"wide_{name}"], mode="nearest"),
            helper.make_node("Gather", ["presence", f"place_{name}"], [f"there_{name}"], axis=1),
            helper.make_node("Reshape", [f"there_{name}", "column"], [f"mask_{name}"]),
            helper.make_node("Mul", [f"wide_{name}", f"mask_{name}"], [f"layer_{name}"]),
        ]
        layers.append(f"layer_{name}")
    nodes += [
        helper.make_node("Concat", layers, ["stack"], axis=1),
        helper.make_node("Conv", ["stack", "weight", "bias"], ["logits"], kernel_shape=[3] * 3, pads=[1] * 6),
    ]
    return nodes, constants


def _value(name: str, shape: tuple[int | None, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch" if n is None else n for n in shape])
