"""Graphs small enough to read: a convolution, a square root in FP32, a convolution; in f32 and in fp16."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cmc_sdk.bundle import write_bundle
from cmc_sdk.bundle.manifest import Graph, Grid, ModalitySpec, ModelSpec
from cmc_sdk.bundle.precision import GateLimits, GraphPrecision, Island, Tensor
from cmc_sdk.imaging.classes import ClassTable

WINDOW = 16
ISLAND = Island(kind="normalisation", nodes=("plus", "root", "mean", "sum"), reason="test", difference=None)


def make_bundle(
    path: Path,
    *,
    precisions: tuple[GraphPrecision, ...] = ("f32", "fp16"),
    told: str | None = None,
    island: bool = True,
    hidden: bool = False,
) -> Path:
    """A bundle of ct alone.

    Args:
        path: Its folder.
        precisions: Of its graphs.
        told: What its graphs tell the stand-in to do.
        island: Whether the manifest names the fp16 graphs' island.
        hidden: Whether the graphs called fp16 are in truth f32.
    """
    graphs: list[Graph] = []
    files: dict[str, Path | bytes] = {}
    for precision in precisions:
        half = precision == "fp16" and not hidden
        for part in ("encoder", "decoder"):
            inputs, outputs = _border(part)
            entry = Graph(
                path=f"graphs/{precision}/{part}_ct.onnx",
                part=part,
                modality="ct",
                precision=precision,
                opset=18,
                inputs=inputs,
                outputs=outputs,
                islands=(ISLAND,) if island and precision == "fp16" else (),
            )
            graphs.append(entry)
            files[entry.path] = make_graph(part, half=half, told=told)
    fields = {
        "name": "tiny",
        "version": "1",
        "licence": "Apache-2.0",
        "intended_use": "tests",
        "spec": ModelSpec(
            modalities=(ModalitySpec(name="ct"),),
            reference_modality="ct",
            classes=ClassTable.from_names(["liver", "spleen"]),
            grid=Grid(spacing_mm=(3, 3, 3), window_vox=(WINDOW,) * 3, overlap=0.25),
        ),
        "graphs": tuple(graphs),
        "gate": {"f32": GateLimits(), "fp16": GateLimits()},
        "provenance": {},
    }
    write_bundle(path, manifest_fields=fields, files=files)
    return path


def make_graph(part: str, *, half: bool, told: str | None = None) -> bytes:
    """window → conv (stride 8 in the encoder) → square root of the absolute value plus one → conv → features or logits.

    The decoder takes its features only for their shape's sake: it adds their mean.
    """
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    kind = np.float16 if half else np.float32
    stride = 8 if part == "encoder" else 1
    channels = 4 if part == "encoder" else 3
    constants = {
        "w0": rng.normal(0, 0.2, (2, 1, 3, 3, 3)).astype(kind),
        "w1": rng.normal(0, 0.2, (channels, 2, 1, 1, 1)).astype(kind),
        "one": np.ones(1, np.float32),
    }
    to_half, to_single = (("to", TensorProto.FLOAT16), ("to", TensorProto.FLOAT)) if half else ((), ())

    def cast(source: str, target: str, to: tuple[str, int] | tuple[()], name: str) -> object:
        if not to:
            return helper.make_node("Identity", [source], [target], name=name)
        return helper.make_node("Cast", [source], [target], name=name, to=to[1])

    pads = [1] * 6
    nodes = [
        cast("window", "x", to_half, "cast_in"),
        helper.make_node(
            "Conv", ["x", "w0"], ["a"], name="conv0", kernel_shape=[3] * 3, pads=pads, strides=[stride] * 3
        ),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        cast("b", "c", to_single, "cast_up"),
        helper.make_node("Add", ["c", "one"], ["d"], name="plus"),
        helper.make_node("Sqrt", ["d"], ["e"], name="root"),
        cast("e", "f", to_half, "cast_down"),
        helper.make_node("Conv", ["f", "w1"], ["g"], name="conv1", kernel_shape=[1] * 3),
        cast("g", "features" if part == "encoder" else "h", to_single, "cast_out"),
    ]
    inputs, outputs = _border(part)
    if part == "decoder":
        nodes += [
            helper.make_node("ReduceMean", ["features_ct"], ["mean"], name="mean", keepdims=1),
            helper.make_node("Add", ["h", "mean"], ["logits"], name="sum"),
        ]
    values = {
        item.name: helper.make_tensor_value_info(
            item.name, TensorProto.FLOAT, ["batch" if size is None else size for size in item.shape]
        )
        for item in (*inputs, *outputs)
    }
    graph = helper.make_graph(
        nodes,
        f"{part}_ct",
        [values[item.name] for item in inputs],
        [values[item.name] for item in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if told is not None:
        helper.set_model_props(model, {"fake": told})
    return model.SerializeToString()


def _border(part: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    grid = (None, 4, *(WINDOW // 8,) * 3)
    window = Tensor(name="window", dtype="float32", shape=(None, 1, *(WINDOW,) * 3))
    features = Tensor(name="features" if part == "encoder" else "features_ct", dtype="float32", shape=grid)
    if part == "encoder":
        return (window,), (features,)
    return (features, window), (Tensor(name="logits", dtype="float32", shape=(None, 3, *(WINDOW,) * 3)),)
