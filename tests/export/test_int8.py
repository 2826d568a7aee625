"""int8 graphs: real windows decide what stays in FP32, the files are OpenVINO's own, and the gate has the last word."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from cmc_sdk import Volume
from cmc_sdk.bundle import open_bundle
from cmc_sdk.bundle.precision import DEFAULT_LIMITS, GateLimits
from cmc_sdk.errors import BundleError, InputError, ParityError
from cmc_sdk.export import export_network
from cmc_sdk.export.editions_of import edition_of
from cmc_sdk.export.graphs import export_graphs
from cmc_sdk.export.int8.control import MARGIN, GraphTrial, control
from cmc_sdk.export.int8.harm import Harm, WindowLabels
from cmc_sdk.export.int8.ir import read_onnx, write_ir
from cmc_sdk.export.int8.quantise import QUANTISED, bypass, first_layers_of, layers_of, quantise, run_model
from cmc_sdk.export.parity import ParityCase
from cmc_sdk.export.precision.calibration_windows import graph_inputs, sample_windows
from cmc_sdk.runtime.backends.base import DecoderInputs
from cmc_sdk.runtime.backends.openvino import import_openvino
from cmc_sdk.runtime.session import Session
from tests.export.exported import make_network, make_spec

for needed in ("openvino", "nncf"):
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed", allow_module_level=True)
WORDS = {"version": "2", "licence": "Apache-2.0", "intended_use": "tests"}


def smooth_case() -> ParityCase:
    """A scan with regions: labels of a scan of noise flip at every rounding."""
    axis = np.linspace(-1, 1, 20)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    scan = np.where(x**2 + y**2 + z**2 < 0.8, 120.0 * np.sign(x + 0.3 * y) + 90.0 * (z > 0.1), -900.0)
    volume = Volume(scan.astype(np.int16), np.diag([2.0, 2.0, 2.0, 1.0]), name="ct")
    return ParityCase(name="patient", images={"ct": volume}, pairing="registered")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory):
    """Network of one modality (each graph takes a while), spec, f32 graphs, ONNX Runtime f32, calibration windows."""
    network, spec, case = make_network(("ct",)), make_spec(("ct",)), smooth_case()
    path = tmp_path_factory.mktemp("int8") / "f32.cmc"
    export_network(network, spec=spec, output=path, cases=[case], **WORDS)
    reference = Session(path, trust="development", backend="onnxruntime", threads=1).backend
    windows = sample_windows([case], spec=spec, count=3)
    return network, spec, export_graphs(network), reference, windows


def trials_of(material) -> list[GraphTrial]:
    _, spec, graphs, reference, windows = material
    return [
        GraphTrial(
            graph.entry,
            read_onnx(graph.content),
            list(graph_inputs(windows, graph=graph.entry, spec=spec, reference=reference)),
        )
        for graph in graphs
    ]


@pytest.mark.slow
def test_only_convolutions_and_products_are_quantised_and_a_layer_can_be_kept(material):
    trial = trials_of(material)[1]
    whole = quantise(trial.model, inputs=trial.inputs)
    layers = layers_of(whole)
    kinds = {node.get_friendly_name(): node.get_type_name() for node in whole.get_ops()}
    assert layers
    assert {kinds[layer] for layer in layers} <= set(QUANTISED)
    kept = quantise(trial.model, inputs=trial.inputs, keep=layers[:1])
    assert layers_of(kept) == layers[1:]
    assert layers_of(trial.model) == []


@pytest.mark.slow
def test_bypassing_a_layer_takes_its_rounding_away(material):
    trial = trials_of(material)[0]
    whole = quantise(trial.model, inputs=trial.inputs)
    inputs = trial.inputs[:1]
    exact, rounded = run_model(trial.model, inputs=inputs), run_model(whole, inputs=inputs)
    free = whole
    for layer in layers_of(whole):
        free = bypass(free, layer=layer)
    assert layers_of(free) == []
    assert layers_of(whole)

    def error(found):
        return max(float(np.abs(found[0][name] - exact[0][name]).max()) for name in exact[0])

    # What is left is the rounding of the weights.
    assert 0 < error(run_model(free, inputs=inputs)) < error(rounded)


@pytest.mark.slow
def test_a_layer_whose_output_two_ops_take_is_scaled_once():
    """OpenVINO 2026.4 gives one of them the layer's scale twice, unless a bound stands between (`_fence`)."""
    ov = import_openvino()
    ops = ov.opset13
    rng = np.random.default_rng(0)
    scan = ops.parameter([1, 8, 12, 12, 12], np.float32, name="features")
    scan.output(0).set_names({"features"})
    weights = ops.constant(rng.normal(size=(8, 8, 3, 3, 3)).astype(np.float32))
    mapped = ops.convolution(scan, weights, [1] * 3, [1] * 3, [1] * 3, [1] * 3)
    mean = ops.reduce_mean(mapped, ops.constant(np.array([2, 3, 4])), keep_dims=True)
    first = ops.slice(mapped, *(ops.constant(np.array([v] * 3)) for v in (0, 1, 1)), ops.constant(np.array([2, 3, 4])))
    outputs = [ops.result(ops.subtract(mapped, other)) for other in (mean, first)]
    for name, output in zip(("mean", "first"), outputs, strict=True):
        output.output(0).set_names({name})
    model = ov.Model(outputs, [scan], "two takers")
    # Not centred: the mean counts.
    inputs = [{"features": rng.normal(1.0, size=(1, 8, 12, 12, 12)).astype(np.float32)}]
    exact, found = run_model(model, inputs=inputs)[0], run_model(quantise(model, inputs=inputs), inputs=inputs)[0]
    for name in ("mean", "first"):
        assert np.abs(found[name] - exact[name]).max() < 0.03 * np.abs(exact[name]).max()


@pytest.mark.slow
def test_small_classes_are_held_to_their_flips(material):
    """The gate allows one of a hundred voxels of a small class in each scan; Dice over all windows would allow two."""
    limits = DEFAULT_LIMITS["int8"]
    harm = Harm({"liver": 1.0}, 0.0, {"spleen": 0.008})
    assert harm.share(limits) == pytest.approx(0.8)
    assert "0.80% of spleen, a small class" in harm.words()
    _, spec, _, reference, windows = material
    labels = WindowLabels(windows, spec=spec, reference=reference, limits=limits)
    assert labels.harm(reference).small_flips.keys() <= {"liver", "spleen"}
    assert max(labels.harm(reference).small_flips.values(), default=0.0) == 0.0


@pytest.mark.slow
def test_layers_that_read_the_scan_stay_in_f32(material):
    for trial in trials_of(material):
        first = first_layers_of(trial.model)
        assert bool(first) == ("window" in {port.name for port in trial.graph.inputs})
        trial.build()
        assert not set(first) & set(layers_of(trial.quantised))


@pytest.mark.slow
def test_what_is_written_runs_with_every_batch_and_says_nothing_about_its_maker(material, tmp_path):
    trial = trials_of(material)[1]
    written = write_ir(quantise(trial.model, inputs=trial.inputs), graph=trial.graph)
    assert written.entry.path == "graphs/int8-openvino/decoder_ct.xml"
    assert set(written.files) == {written.entry.path, "graphs/int8-openvino/decoder_ct.bin"}
    assert written.entry.opset >= 11
    text = written.content.decode()
    assert text.startswith("<?xml")
    assert "rt_info" not in text
    assert str(tmp_path.parents[1]) not in text
    model = import_openvino().Core().read_model(model=written.content, weights=written.weights)
    two = {name: np.concatenate([array, array]) for name, array in trial.inputs[0].items()}
    one = run_model(model, inputs=trial.inputs[:1])[0]["logits"]
    both = run_model(model, inputs=[two])[0]["logits"]
    np.testing.assert_allclose(both, np.concatenate([one, one]), atol=1e-4)


@pytest.mark.slow
def test_a_model_without_anything_quantised_is_not_written_as_int8(material):
    trial = trials_of(material)[0]
    with pytest.raises(BundleError, match="nothing in it is quantised"):
        write_ir(trial.model, graph=trial.graph)


@pytest.mark.slow
def test_more_layers_go_back_to_f32_until_the_labels_are_near_enough_or_it_is_refused(material):
    _, spec, _, reference, windows = material
    loose = GateLimits(min_dice=0.0, max_flips=1.0, small_class_flips=1.0)
    labels = WindowLabels(windows, spec=spec, reference=reference, limits=loose)
    free = control(trials_of(material), labels=labels, limits=loose, reference=reference)
    assert [trial.keep for trial in free.trials] == [()] * 2
    assert 0 < free.harm.flips < 0.5
    # A little less than what all layers in int8 do: something must give.
    tight = GateLimits(min_dice=0.0, max_flips=free.harm.flips * 0.9 / MARGIN, small_class_flips=1.0)
    held = control(trials_of(material), labels=labels, limits=tight, reference=reference)
    assert held.harm.flips <= MARGIN * tight.max_flips
    assert sum(len(trial.keep) for trial in held.trials) > 0
    assert len(held.steps) > 1
    none = GateLimits(min_dice=0.0, max_flips=0.0, small_class_flips=1.0)
    with pytest.raises(ParityError, match=r"int8 changes the labels too much: with \d+ of \d+ layers") as caught:
        control(trials_of(material), labels=labels, limits=none, reference=reference)
    assert "--int8" in str(caught.value)


def test_harm_is_measured_against_the_limits():
    limits = DEFAULT_LIMITS["int8"]
    assert Harm({"liver": 0.995, "spleen": None}, 0.002).share(limits) == pytest.approx(0.5)
    assert Harm({"liver": 1.0}, 0.02).share(limits) == pytest.approx(2.0)
    assert "Dice 0.9950 in liver, 0.20%" in Harm({"liver": 0.995, "spleen": None}, 0.002).words()


def fitted(network, windows):
    """The network after steps enough that it labels the windows by their intensity, far from any rounding."""
    images = torch.from_numpy(np.stack([window.images["ct"] for window in windows])[:, None])
    low, middle = images.min() + 0.1, images[images > images.min() + 0.1].mean()
    labels = (images[:, 0] > low).long() + (images[:, 0] > middle).long()
    generator = torch.Generator().manual_seed(2)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(120):
        noisy = images + 0.02 * torch.randn(images.shape, generator=generator)
        loss = torch.nn.functional.cross_entropy(network({"ct": noisy}).logits["ct"], labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


@pytest.mark.slow
def test_a_bundle_holds_int8_and_labels_with_it(material, tmp_path, monkeypatch):
    # What a network of 120 steps says of a scan of one value hangs on its roundings, and its classes are small.
    monkeypatch.setattr("cmc_sdk.export.parity.stress_cases", lambda spec: [])
    spec, windows = material[1], material[4]
    network = fitted(make_network(("ct",)), windows)
    path = tmp_path / "int8.cmc"
    export_network(network, spec=spec, output=path, cases=[smooth_case()], precisions=["int8"], **WORDS)
    manifest = open_bundle(path).manifest
    assert ("openvino", "int8") in {(item.backend, item.precision) for item in manifest.passed}
    assert {graph.precision for graph in manifest.graphs} == {"f32", "int8-openvino"}
    report = json.loads((path / "parity.json").read_text())["int8"]
    assert report["passed"] is True
    assert all(count > 0 for count in report["calibration"]["layers"].values())
    images = smooth_case().images
    sides = {
        precision: Session(path, trust="development", precision=precision, threads=1).infer(images)
        for precision in ("f32", "int8", "fastest")
    }
    assert sides["fastest"].record.precision == "int8"
    assert "kept the gate" in sides["fastest"].record.backend_reason
    for name in images:
        same = np.mean(sides["int8"].labels[name].stored == sides["f32"].labels[name].stored)
        assert same > 0.98
        assert np.array_equal(sides["int8"].labels[name].stored, sides["fastest"].labels[name].stored)
    _check_windows_outside(path, windows[0].images["ct"][None, None])
    # The bytes in the bundle are what runs: half a file of weights is refused before the library sees it.
    weights = path / "graphs/int8-openvino/encoder_ct.bin"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(BundleError, match=r"encoder_ct\.bin has \d+ bytes"):
        Session(path, trust="development", precision="int8")


def _check_windows_outside(path, known):
    """int8 is for windows like those that it was calibrated on; any other window of a batch is computed in f32."""
    int8, f32 = (
        Session(path, trust="development", backend="openvino", precision=name, threads=1).backend
        for name in ("int8", "f32")
    )
    batch = np.concatenate([known, 10 * known, known, 0.01 * known + 1]).astype(np.float32)
    presence = np.ones((4, 1), np.float32)

    def label(backend, rows):
        window = batch[rows]
        encoded = backend.encode("ct", window)
        features = {"ct": encoded["features"]}
        return backend.decode("ct", DecoderInputs(features, presence[rows], encoded, window))

    both = label(int8, slice(0, 4))
    assert int8.exact_windows == 2
    for row, alone in enumerate((int8, f32, int8, f32)):
        np.testing.assert_allclose(both[row], label(alone, slice(row, row + 1))[0], atol=1e-4)
    assert np.abs(both[0] - label(f32, slice(0, 1))[0]).max() > 1e-3
    # Of a whole scan the record says it.
    scan = np.zeros((20, 20, 20), np.int16)
    scan[10, 10, 10] = 40
    image = {"ct": Volume(scan, np.diag([2.0, 2.0, 2.0, 1.0]), name="ct")}
    found = [
        Session(path, trust="development", backend="openvino", precision=name, threads=1).infer(image)
        for name in ("int8", "f32")
    ]
    assert np.array_equal(found[0].labels["ct"].stored, found[1].labels["ct"].stored)
    assert any("outside of what int8 was calibrated on" in note for note in found[0].record.warnings)
    assert found[1].record.warnings == ()


def test_editions_beside_f32_are_known_by_name():
    assert edition_of("int8").backends == ("openvino",)
    assert edition_of("bf16").limits == DEFAULT_LIMITS["bf16"]
    with pytest.raises(InputError, match="no export is known for f64"):
        edition_of("f64")


@pytest.mark.slow
def test_nncf_is_imported_without_what_reports_home(tmp_path):
    program = (
        "import os, socket, sys\n"
        "def refuse(*words, **named): raise SystemExit('a socket was opened')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from cmc_sdk.export.int8.quantise import _import_nncf\n"
        "nncf = _import_nncf()\n"
        "from nncf.telemetry.wrapper import telemetry\n"
        "print(type(telemetry).__name__, getattr(sys.modules.get('openvino_telemetry'), '__file__', None))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["MagicMock", "None"]
    assert list(tmp_path.iterdir()) == []
