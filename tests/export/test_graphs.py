"""The graphs of a network: names, dynamic batch, absent modalities, the same values as torch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch

from cmc_sdk.bundle import open_bundle
from cmc_sdk.errors import BundleError
from cmc_sdk.export.graphs import ExportedGraph, export_graphs, export_module
from cmc_sdk.runtime.backends.base import DecoderInputs
from cmc_sdk.runtime.session import Session
from cmc_sdk.training.engine import TorchBackend
from cmc_sdk.training.model import CMCNetwork, ModelConfig, build_network
from tests.export.exported import Exported, make_network

BACKENDS = ("onnxruntime", "openvino")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_names_and_shapes(exported: Exported) -> None:
    graphs = {(item.part, item.modality): item for item in open_bundle(exported.bundle).manifest.graphs}
    assert set(graphs) == {(part, name) for part in ("encoder", "decoder") for name in ("ct", "mr")}
    encoder, decoder = graphs["encoder", "mr"], graphs["decoder", "mr"]
    assert encoder.path == "graphs/f32/encoder_mr.onnx"
    assert [(item.name, item.shape) for item in encoder.inputs] == [("window", (None, 1, 16, 16, 16))]
    assert [item.name for item in encoder.outputs] == ["features", "skip_0", "skip_1", "skip_2"]
    # unet3d's last skip is at full resolution: its decoder never looks at the window.
    assert [item.name for item in decoder.inputs] == [
        "features_ct", "features_mr", "presence", "skip_0", "skip_1", "skip_2",
    ]  # fmt: skip
    assert [(item.name, item.shape) for item in decoder.outputs] == [("logits", (None, 3, 16, 16, 16))]
    assert {item.opset for item in graphs.values()} == {18}


def test_instance_norms_are_staged_and_nothing_needs_a_batch(exported: Exported) -> None:
    opened = open_bundle(exported.bundle)
    for graph in opened.manifest.graphs:
        found = Counter(node.op_type for node in onnx.load_model_from_string(opened.read(graph.path)).graph.node)
        assert found["ReduceMean"] >= 2  # a mean and a variance each
        assert not {"BatchNormalization", "InstanceNormalization", "Dropout"} & set(found)


@pytest.mark.parametrize("name", BACKENDS)
def test_values_equal_torch_and_do_not_depend_on_the_batch(exported: Exported, name: str) -> None:
    backend, torch_backend = (
        Session(exported.bundle, trust="development", backend=name).backend,
        TorchBackend(exported.network),
    )
    window, partner = noise(3, 1, 16, 16, 16), noise(3, 1, 16, 16, 16, seed=1)
    presence = np.array([[1, 1], [1, 0], [1, 1]], np.float32)
    whole = {}
    for label, runner in (("torch", torch_backend), (name, backend)):
        encoded, other = runner.encode("ct", window), runner.encode("mr", partner)
        features = {"ct": encoded["features"], "mr": other["features"]}
        logits = runner.decode("ct", DecoderInputs(features, presence, encoded, window))
        whole[label] = (encoded, other, logits)
    encoded, other, logits = whole[name]
    for output, array in whole["torch"][0].items():
        np.testing.assert_allclose(encoded[output], array, atol=1e-4 * np.abs(array).max())
    np.testing.assert_allclose(logits, whole["torch"][2], atol=1e-4 * np.abs(logits).max())
    for row in range(3):
        part = slice(row, row + 1)
        alone = backend.encode("ct", window[part])
        features = {"ct": alone["features"], "mr": other["features"][part]}
        logits_alone = backend.decode("ct", DecoderInputs(features, presence[part], alone, window[part]))
        np.testing.assert_allclose(logits_alone, logits[part], atol=1e-5 * np.abs(logits).max())


@pytest.mark.parametrize("name", BACKENDS)
def test_an_absent_modality_has_no_influence_nan_included(exported: Exported, name: str) -> None:
    backend = Session(exported.bundle, trust="development", backend=name).backend
    window = noise(1, 1, 16, 16, 16)
    encoded = backend.encode("ct", window)
    blank = np.zeros_like(encoded["features"])
    logits = {}
    for label, partner in {"zeros": blank, "noise": noise(*blank.shape), "nan": blank * np.nan}.items():
        features = {"ct": encoded["features"], "mr": partner}
        for present in (0.0, 1.0):
            presence = np.array([[1.0, present]], np.float32)
            found = backend.decode("ct", DecoderInputs(features, presence, encoded, window))
            logits[label, present] = found
    assert np.array_equal(logits["zeros", 0.0], logits["noise", 0.0])
    assert np.array_equal(logits["zeros", 0.0], logits["nan", 0.0])
    assert not np.allclose(logits["zeros", 1.0], logits["noise", 1.0], atol=1e-4)


def test_the_network_stays_in_its_mode_and_another_opset_is_refused() -> None:
    network = make_network(("ct",)).train()
    with pytest.raises(BundleError, match="opset 23 is outside 18 to 20"):
        export_graphs(network, opset=23)
    assert network.training


def ports(graphs: list[ExportedGraph]) -> dict[str, list[str]]:
    return {graph.entry.path: [item.name for item in graph.entry.inputs] for graph in graphs}


def run_graph(graph: ExportedGraph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph.content, providers=["CPUExecutionProvider"])
    names = [item.name for item in graph.entry.outputs]
    wanted = {item.name: inputs[item.name] for item in graph.entry.inputs}
    return dict(zip(names, session.run(names, wanted), strict=True))


def check_against_torch(network: CMCNetwork, *, tolerance: float = 1e-4) -> dict[str, list[str]]:
    """Export, run every graph at batch 1 and 3 with the first modality present only in places, compare."""
    graphs = export_graphs(network)
    by_part = {(graph.entry.part, graph.entry.modality): graph for graph in graphs}
    backend, names = TorchBackend(network), network.modalities
    for batch in (1, 3):
        windows = {name: noise(batch, 1, *network.window_vox, seed=index) for index, name in enumerate(names)}
        encoded = {name: backend.encode(name, window) for name, window in windows.items()}
        features = {name: item["features"] for name, item in encoded.items()}
        presence = np.ones((batch, len(names)), np.float32)
        presence[::2, 1:] = 0.0
        for name in names:
            given = run_graph(by_part["encoder", name], {"window": windows[name]})
            for output, array in encoded[name].items():
                np.testing.assert_allclose(given[output], array, atol=tolerance * np.abs(array).max())
            inputs = {f"features_{key}": array for key, array in features.items()} | encoded[name]
            inputs |= {"presence": presence, "window": windows[name]}
            logits = backend.decode(name, DecoderInputs(features, presence, encoded[name], windows[name]))
            found = run_graph(by_part["decoder", name], inputs)["logits"]
            np.testing.assert_allclose(found, logits, atol=tolerance * np.abs(logits).max())
    return ports(graphs)


@pytest.mark.slow
def test_one_modality() -> None:
    inputs = check_against_torch(make_network(("ct",)))
    assert inputs["graphs/f32/decoder_ct.onnx"][0] == "features_ct"


@pytest.mark.slow
def test_three_modalities() -> None:
    inputs = check_against_torch(make_network(("flair", "t1c", "t2")))
    assert inputs["graphs/f32/decoder_t1c.onnx"][:4] == ["features_flair", "features_t1c", "features_t2", "presence"]


@pytest.mark.slow
def test_the_tiny_preset_with_the_window_read_by_its_decoder() -> None:
    network = build_network(ModelConfig(preset="tiny"), modalities=("ct", "mr"), num_classes=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    inputs = check_against_torch(network.eval())
    assert inputs["graphs/f32/decoder_ct.onnx"][-1] == "window"


@pytest.mark.slow
def test_the_base_preset_exports_and_equals_torch() -> None:
    network = build_network(ModelConfig(preset="base"), modalities=("ct",), num_classes=3).eval()
    graphs = export_graphs(network)
    encoder, decoder = graphs
    counts = Counter(node.op_type for node in onnx.load_model_from_string(encoder.content).graph.node)
    assert counts["LayerNormalization"] == 12 * 2 + 2
    window, backend = noise(1, 1, 128, 128, 128), TorchBackend(network)
    encoded = backend.encode("ct", window)
    given = run_graph(encoder, {"window": window})
    for output, array in encoded.items():
        np.testing.assert_allclose(given[output], array, atol=1e-4 * np.abs(array).max())
    presence = np.ones((1, 1), np.float32)
    features = encoded["features"]
    logits = backend.decode("ct", DecoderInputs({"ct": features}, presence, encoded, window))
    inputs = encoded | {"features_ct": features, "presence": presence, "window": window}
    np.testing.assert_allclose(run_graph(decoder, inputs)["logits"], logits, atol=1e-3 * np.abs(logits).max())


@pytest.mark.slow
def test_a_module_that_keeps_its_batch() -> None:
    content = export_module(
        torch.nn.Conv3d(1, 2, kernel_size=1),
        inputs={"window": torch.zeros(1, 1, 4, 4, 4)},
        outputs=("logits",),
        name="fixed.onnx",
        dynamic_batch=False,
    )
    shape = onnx.load_model_from_string(content).graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [1, 1, 4, 4, 4]
