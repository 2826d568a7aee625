"""The two backends on hand-written graphs: the same logits, stated precision, and refusals that name the way out."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cmc_sdk import Session
from cmc_sdk.bundle import open_bundle, write_bundle
from cmc_sdk.errors import BackendError, BundleError, InputError
from cmc_sdk.runtime.backends import graphs
from cmc_sdk.runtime.backends.base import DecoderInputs
from cmc_sdk.runtime.backends.openvino import import_openvino
from cmc_sdk.runtime.backends.select import open_backend
from tests.runtime.stubs import blob_scan, make_spec

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
if importlib.util.find_spec("openvino") is None:
    pytest.skip("openvino is not installed", allow_module_level=True)
BACKENDS = ["openvino", "onnxruntime"]
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def make_bundle(folder: Path, *, spoil: str | None = None) -> Path:
    from tests.cli.graphs import make_graph

    spec = make_spec()
    graphs = [make_graph(part, name, modalities=spec.names) for name in spec.names for part in ("encoder", "decoder")]
    files = {entry.path: content for entry, content in graphs}
    if spoil is not None:
        files[spoil] = b"\x08\x0a not a graph"
    fields = {
        "name": "tiny",
        "version": "1",
        "licence": "Apache-2.0",
        "intended_use": "tests",
        "spec": spec,
        "graphs": tuple(entry for entry, _ in graphs),
        "gate": {},
        "provenance": {},
    }
    write_bundle(folder / "tiny.cmc", manifest_fields=fields, files=files)
    return folder / "tiny.cmc"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("backends"))


def run(backend, batch):
    rng = np.random.default_rng(0)
    windows = {name: rng.normal(0, 1, (batch, 1, 16, 16, 16)).astype(np.float32) for name in ("ct", "mr")}
    encoded = {name: backend.encode(name, window) for name, window in windows.items()}
    features = {name: item["features"] for name, item in encoded.items()}
    presence = np.tile(np.array([1.0, 1.0], np.float32), (batch, 1))
    return {
        name: backend.decode(name, DecoderInputs(features, presence, encoded[name], windows[name])) for name in windows
    }


def test_both_backends_give_the_same_logits_for_every_batch(bundle):
    sides = [open_backend(open_bundle(bundle), choice=name, threads=1) for name in BACKENDS]
    for batch in (1, 3, 1):
        first, second = (run(side, batch) for side in sides)
        for name in ("ct", "mr"):
            assert first[name].shape == (batch, 3, 16, 16, 16)
            assert first[name].dtype == second[name].dtype == np.float32
            np.testing.assert_allclose(first[name], second[name], atol=1e-4)


@pytest.mark.parametrize("name", BACKENDS)
def test_outputs_stay_as_they_are_when_the_next_window_runs(bundle, name):
    backend = open_backend(open_bundle(bundle), choice=name, threads=1)
    first = backend.encode("ct", np.ones((1, 1, 16, 16, 16), np.float32))
    kept = {key: value.copy() for key, value in first.items()}
    backend.encode("ct", np.full((1, 1, 16, 16, 16), 5, np.float32))
    assert all(np.array_equal(first[key], kept[key]) for key in kept)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_session_labels_and_its_record_states_backend_precision_and_threads(bundle, name):
    session = Session(bundle, trust="development", backend=name, threads=1)
    result = session.infer({"ct": blob_scan(AFFINE, (20, 18, 16))})
    record = result.record
    assert (record.backend, record.precision, record.threads) == (name, "f32", 1)
    assert record.bundle.manifest_sha256 == session.bundle.manifest_sha256
    assert len(np.unique(result.labels["ct"].stored)) > 1
    again = Session(bundle, trust="development", backend=name, threads=2).infer({"ct": blob_scan(AFFINE, (20, 18, 16))})
    assert np.array_equal(again.labels["ct"].stored, result.labels["ct"].stored)


def test_openvino_is_told_to_compute_in_f32(bundle, monkeypatch):
    core = import_openvino().Core
    told = []
    original = core.compile_model

    def compile_model(self, model, device, settings):
        told.append(dict(settings))
        return original(self, model, device, settings)

    monkeypatch.setattr(core, "compile_model", compile_model)
    open_backend(open_bundle(bundle), choice="openvino", threads=1).encode("ct", np.zeros((1, 1, 16, 16, 16), "f4"))
    assert [(item["INFERENCE_PRECISION_HINT"], item["INFERENCE_NUM_THREADS"]) for item in told] == [("f32", 1)]


def test_openvino_comes_first_and_the_other_stands_in(bundle, monkeypatch):
    opened = open_bundle(bundle)
    assert open_backend(opened, choice="auto").name == "openvino"
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    assert open_backend(opened, choice="auto").name == "onnxruntime"
    with pytest.raises(BackendError, match="openvino") as caught:
        open_backend(opened, choice="openvino")
    assert "pip install" in str(caught.value)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match="pip install"):
        open_backend(opened, choice="auto")


@pytest.mark.parametrize(("options", "words"), [({"backend": "tensorrt"}, "tensorrt"), ({"threads": 0}, "threads")])
def test_wrong_choices_are_refused(bundle, options, words):
    with pytest.raises(InputError, match=words):
        Session(bundle, trust="development", **options)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_file_that_is_no_graph_is_named(tmp_path, name):
    path = make_bundle(tmp_path, spoil="graphs/f32/encoder_ct.onnx")
    with pytest.raises((BackendError, BundleError), match="encoder_ct") as caught:
        Session(path, trust="development", backend=name).infer({"ct": blob_scan(AFFINE, (10, 10, 10))})
    assert caught.value.mend
    # The other modality's graphs are sound, and a run without ct never opens the broken one.
    assert Session(path, trust="development", backend=name).infer({"mr": blob_scan(AFFINE, (10, 10, 10))}).labels


@pytest.mark.parametrize("name", BACKENDS)
def test_a_graph_that_cannot_take_its_input_is_named(bundle, name):
    backend = open_backend(open_bundle(bundle), choice=name)
    with pytest.raises(BackendError, match="encoder_ct"):
        backend.encode("ct", np.zeros((1, 2, 16, 16, 16), np.float32))


def test_importing_openvino_keeps_its_telemetry_out(tmp_path):
    program = (
        "import os, socket, sys\n"
        "def refuse(*words, **named): raise SystemExit('a socket was opened')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from cmc_sdk.runtime.backends.openvino import import_openvino\n"
        "openvino = import_openvino()\n"
        "module = sys.modules.get('openvino_telemetry')\n"
        "print(getattr(module, '__file__', None), openvino.Core().available_devices)\n"
    )
    # CI must not be set: it alone would silence the telemetry.
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("None [")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("small", [True, False], ids=["beside each other", "one by one"])
def test_what_is_prepared_is_not_compiled_again(bundle, name, small, monkeypatch):
    if not small:
        monkeypatch.setattr(graphs, "_SMALL_BYTES", 0)
    backend = open_backend(open_bundle(bundle), choice=name, threads=2)
    compiled, compile_graph = [], backend.compile_graph
    monkeypatch.setattr(backend, "compile_graph", lambda file: compiled.append(file.graph.path) or compile_graph(file))
    backend.prepare(["ct"], batch=2)
    assert sorted(compiled) == ["graphs/f32/decoder_ct.onnx", "graphs/f32/encoder_ct.onnx"]
    backend.prepare(["ct", "mr"], batch=2)
    expected = run(open_backend(open_bundle(bundle), choice=name, threads=1), 2)
    found = run(backend, 2)
    assert len(compiled) == len(set(compiled)) == 4
    assert all(np.allclose(found[key], expected[key], atol=1e-5) for key in expected)


def test_openvinos_converter_is_there_for_whoever_calls_it() -> None:
    program = (
        "import sys\n"
        "from cmc_sdk.runtime.backends.openvino import import_openvino\n"
        "ov = import_openvino()\n"
        "assert 'openvino.tools.ovc' not in sys.modules\n"
        "try:\n"
        "    ov.convert_model('no such file')\n"
        "except Exception as error:\n"
        "    assert 'openvino.tools.ovc' in sys.modules, error\n"
        "    print('called')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "called", done.stderr
