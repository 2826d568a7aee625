"""Which precision is computed in, from which graphs, and why it was chosen."""

from __future__ import annotations

import importlib.util
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmc_sdk import Session
from cmc_sdk.bundle import open_bundle, write_bundle
from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.bundle.precision import DEFAULT_LIMITS, GatePass
from cmc_sdk.errors import BackendError, BundleError, InputError
from cmc_sdk.runtime.backends import openvino as openvino_backend
from cmc_sdk.runtime.backends.base import DecoderInputs
from cmc_sdk.runtime.backends.catalogue import installed_backends
from cmc_sdk.runtime.backends.openvino import computes_bf16, import_openvino
from cmc_sdk.runtime.backends.providers import probe_provider
from cmc_sdk.runtime.backends.select import computable_pairs, open_backend, select_backend
from tests.runtime.stubs import blob_scan, make_spec

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
if importlib.util.find_spec("openvino") is None:
    pytest.skip("openvino is not installed", allow_module_level=True)

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
ALL = (
    GatePass(backend="openvino", precision="f32"),
    GatePass(backend="openvino", precision="bf16"),
    GatePass(backend="openvino", precision="int8"),
    GatePass(backend="onnxruntime", precision="f32"),
    GatePass(backend="onnxruntime", precision="fp16"),
)


def half(entry: Graph, content: bytes) -> tuple[Graph, bytes]:
    """The graph with FP16 inside and FP32 at its border."""
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_model_from_string(content)
    graph = model.graph
    for index, tensor in enumerate(graph.initializer):
        if tensor.data_type == TensorProto.FLOAT and tensor.name != "scales":
            array = numpy_helper.to_array(tensor).astype(np.float16)
            graph.initializer[index].CopyFrom(numpy_helper.from_array(array, tensor.name))
    inner = {item.name: f"{item.name}_fp16" for item in (*graph.input, *graph.output)}
    for node in graph.node:
        node.input[:] = [inner.get(name, name) for name in node.input]
        node.output[:] = [inner.get(name, name) for name in node.output]
    heads = [helper.make_node("Cast", [item.name], [inner[item.name]], to=TensorProto.FLOAT16) for item in graph.input]
    tails = [helper.make_node("Cast", [inner[item.name]], [item.name], to=TensorProto.FLOAT) for item in graph.output]
    nodes = [*heads, *graph.node, *tails]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    path = entry.path.replace("/f32/", "/fp16/")
    return entry.model_copy(update={"path": path, "precision": "fp16"}), model.SerializeToString()


def as_ir(entry: Graph, content: bytes, folder: Path) -> tuple[Graph, bytes, bytes]:
    """The graph in OpenVINO's own format, with logits shifted by 1 so that it can be told apart."""
    openvino = import_openvino()
    model = openvino.Core().read_model(io.BytesIO(content))
    if entry.part == "decoder":
        from openvino import opset13

        result = model.get_results()[0]
        shifted = opset13.add(result.input_value(0), np.float32(1.0))
        shifted.output(0).set_names({"logits"})
        model = openvino.Model([opset13.result(shifted)], model.get_parameters(), "shifted")
    openvino.save_model(model, folder / "graph.xml", compress_to_fp16=False)
    stem = entry.path.replace("/f32/", "/int8-openvino/").removesuffix(".onnx")
    changes = {"path": f"{stem}.xml", "weights": f"{stem}.bin", "precision": "int8-openvino", "opset": 11}
    return (
        entry.model_copy(update=changes),
        (folder / "graph.xml").read_bytes(),
        (folder / "graph.bin").read_bytes(),
    )


def make_bundle(folder: Path, *, passed: tuple[GatePass, ...] = (), name: str = "many.cmc", **changes: object) -> Path:
    from tests.cli.graphs import make_graph

    spec = make_spec()
    entries, files = [], {}
    for modality in spec.names:
        for part in ("encoder", "decoder"):
            entry, content = make_graph(part, modality, modalities=spec.names)
            fp16, fp16_content = half(entry, content)
            int8, xml, weights = as_ir(entry, content, folder)
            entries += [entry, fp16, int8]
            files |= {entry.path: content, fp16.path: fp16_content, int8.path: xml, int8.weights: weights}
    fields = {
        "name": "many",
        "version": "1",
        "licence": "Apache-2.0",
        "intended_use": "tests",
        "spec": spec,
        "graphs": tuple(entries),
        "gate": dict(DEFAULT_LIMITS),
        "passed": passed,
        "provenance": {},
        **changes,
    }
    write_bundle(folder / name, manifest_fields=fields, files=files)
    return folder / name


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("precision"), passed=ALL)


def logits_of(backend) -> np.ndarray:
    rng = np.random.default_rng(0)
    windows = {name: rng.normal(0, 1, (1, 1, 16, 16, 16)).astype(np.float32) for name in ("ct", "mr")}
    encoded = {name: backend.encode(name, window) for name, window in windows.items()}
    features = {name: item["features"] for name, item in encoded.items()}
    presence = np.ones((1, 2), np.float32)
    return backend.decode("ct", DecoderInputs(features, presence, encoded["ct"], windows["ct"]))


def test_every_pair_reads_its_own_graphs_and_states_its_precision(bundle):
    opened = open_bundle(bundle)
    exact = logits_of(open_backend(opened, choice="onnxruntime"))
    for choice, precision, shift, atol in (
        ("openvino", "f32", 0.0, 1e-4),
        ("openvino", "int8", 1.0, 1e-4),
        ("onnxruntime", "fp16", 0.0, 0.05),
    ):
        backend = open_backend(opened, choice=choice, precision=precision, threads=1)
        found = logits_of(backend)
        assert (backend.name, backend.precision) == (choice, precision)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact + shift, atol=atol)
    fp16 = logits_of(open_backend(opened, choice="onnxruntime", precision="fp16"))
    assert np.abs(fp16 - exact).max() > 1e-4, "an FP16 graph that gives FP32's digits was computed in FP32"


def test_bf16_is_really_computed_in_bf16_and_f32_is_not(bundle):
    if not computes_bf16():
        pytest.skip("this processor has no bf16")
    opened = open_bundle(bundle)
    exact = logits_of(open_backend(opened, choice="openvino", precision="f32"))
    rounded = logits_of(open_backend(opened, choice="openvino", precision="bf16"))
    assert 1e-3 < np.abs(rounded - exact).max() < 0.5


def test_bf16_is_refused_by_name_where_the_processor_has_none(bundle, monkeypatch):
    monkeypatch.setattr(openvino_backend, "computes_bf16", lambda: False)
    backend = open_backend(open_bundle(bundle), choice="openvino", precision="bf16")
    with pytest.raises(BackendError, match="bf16") as caught:
        backend.encode("ct", np.zeros((1, 1, 16, 16, 16), np.float32))
    assert "f32" in str(caught.value.mend)


def test_a_user_who_asks_for_nothing_gets_f32(bundle):
    chosen = select_backend(open_bundle(bundle), choice="auto")
    assert (chosen.backend, chosen.precision) == ("openvino", "f32")
    record = Session(bundle, trust="development", threads=1).infer({"ct": blob_scan(AFFINE, (20, 18, 16))}).record
    assert (record.backend, record.precision) == ("openvino", "f32")
    assert record.backend_reason == "the fastest that is installed for f32"


@pytest.mark.parametrize(
    ("passed", "bf16", "expected", "words"),
    [
        (ALL, True, ("openvino", "int8"), "the fastest that kept the gate"),
        (ALL[:2], True, ("openvino", "bf16"), "not openvino int8: the gate has not passed it"),
        (ALL[:2], False, ("openvino", "f32"), "not openvino bf16: this processor has no bf16"),
        (ALL[3:], True, ("onnxruntime", "f32"), "not openvino f32: the gate has not passed it"),
        ((), True, ("openvino", "f32"), "not openvino int8: the gate has not passed it"),
    ],
)
def test_fastest_is_the_fastest_that_the_gate_has_passed(tmp_path, monkeypatch, passed, bf16, expected, words):
    monkeypatch.setattr(openvino_backend, "computes_bf16", lambda: bf16)
    opened = open_bundle(make_bundle(tmp_path, passed=passed))
    chosen = select_backend(opened, choice="auto", precision="fastest")
    assert (chosen.backend, chosen.precision) == expected
    assert words in chosen.reason


def test_fastest_of_one_backend_stays_with_it(bundle):
    chosen = select_backend(open_bundle(bundle), choice="onnxruntime", precision="fastest")
    assert (chosen.backend, chosen.precision) == ("onnxruntime", "f32")


def test_of_two_that_are_installed_the_one_that_passed_is_taken(tmp_path):
    chosen = select_backend(open_bundle(make_bundle(tmp_path, passed=ALL[3:])), choice="auto")
    assert chosen.backend == "onnxruntime"
    by_name = select_backend(open_bundle(tmp_path / "many.cmc"), choice="openvino")
    assert "not among those that passed the gate" in by_name.reason


def test_a_precision_without_limits_or_graphs_is_not_in_the_bundle(tmp_path, bundle):
    only = make_bundle(tmp_path, gate={"f32": DEFAULT_LIMITS["f32"]})
    for precision in ("fp16", "bf16", "int8"):
        with pytest.raises(BundleError, match=f"is not for {precision}: it was exported and passed for f32"):
            Session(only, trust="development", precision=precision)
    plain = [graph for graph in open_bundle(bundle).manifest.graphs if graph.precision == "f32"]
    lean = open_bundle(bundle)
    lean = replace(lean, manifest=lean.manifest.model_copy(update={"graphs": tuple(plain)}))
    with pytest.raises(BundleError, match="is not for int8"):
        select_backend(lean, choice="auto", precision="int8")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": "openvino", "precision": "fp16"}, "openvino does not compute in fp16, only in f32, bf16, int8"),
        ({"backend": "onnxruntime", "precision": "int8"}, "give --backend openvino"),
        ({"precision": "f64"}, "unknown precision 'f64'"),
        ({"backend": "cuda"}, "unknown backend 'cuda'"),
    ],
)
def test_pairs_that_do_not_exist_are_refused_with_the_way_out(bundle, options, words):
    with pytest.raises(InputError) as caught:
        Session(bundle, trust="development", **options)
    assert words in str(caught.value)


def test_installed_backends_are_those_of_the_processor(monkeypatch):
    assert installed_backends() == ("openvino", "onnxruntime")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert installed_backends() == ()


@pytest.mark.parametrize("choice", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_a_provider_that_is_not_there_is_named(bundle, choice):
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(BackendError, match=r"has no (CUDA|Tensorrt)ExecutionProvider"):
        logits_of(open_backend(open_bundle(bundle), choice=choice))


def test_a_provider_that_leaves_the_work_to_the_cpu_is_refused(bundle, monkeypatch):
    class Quiet:
        """As the library does where CUDA's own libraries are missing: a log line, and the CPU."""

        def __init__(self, data, options, *, providers, provider_options):
            assert providers[0] == "CUDAExecutionProvider"
            assert provider_options[0] == {"use_tf32": "0"}

        def get_providers(self):
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", Quiet)
    with pytest.raises(BackendError, match="CPUExecutionProvider would run instead of CUDAExecutionProvider"):
        logits_of(open_backend(open_bundle(bundle), choice="onnxruntime-cuda"))


def test_a_provider_is_probed_by_running_it(monkeypatch):
    assert probe_provider("onnxruntime") is None
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        assert probe_provider("onnxruntime-cuda") == "this onnxruntime has no CUDAExecutionProvider"

    class Wrong:
        def __init__(self, *words, **named):
            pass

        def get_providers(self):
            return ["CPUExecutionProvider"]

        def run(self, names, inputs):
            return [inputs["x"] * 3]

    monkeypatch.setattr(ort, "InferenceSession", Wrong)
    assert probe_provider("onnxruntime") == "1 + 1 is not 2 there"


def test_what_can_be_computed_is_what_the_bundle_holds_and_the_machine_has(bundle, tmp_path, monkeypatch):
    manifest = open_bundle(bundle).manifest
    monkeypatch.setattr(openvino_backend, "computes_bf16", lambda: False)
    found = computable_pairs(manifest)
    assert ("openvino", "int8") in found
    assert ("openvino", "bf16") not in found
    only = open_bundle(make_bundle(tmp_path, gate={"f32": DEFAULT_LIMITS["f32"]})).manifest
    assert computable_pairs(only) == (("openvino", "f32"), ("onnxruntime", "f32"))


def test_a_changed_byte_of_separate_weights_is_refused(tmp_path):
    path = make_bundle(tmp_path, passed=ALL)
    weights = path / "graphs/int8-openvino/decoder_ct.bin"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(BundleError, match=r"decoder_ct\.bin is not the file that the manifest lists"):
        logits_of(open_backend(open_bundle(path), choice="openvino", precision="int8"))


@pytest.mark.parametrize("change", [{"weights": "graphs/f32/encoder_ct.bin"}, {"precision": "int8-openvino"}])
def test_only_openvinos_own_graphs_have_a_file_of_weights(bundle, change):
    graph = next(graph for graph in open_bundle(bundle).manifest.graphs if graph.precision == "f32")
    with pytest.raises(ValueError, match="file of weights"):
        Graph.model_validate({**graph.model_dump(), **change})
