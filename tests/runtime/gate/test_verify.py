"""Verifying a bundle: hashes, golden labels on every backend, and the faults that it must find."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from cmc_sdk.bundle import open_bundle, write_bundle
from cmc_sdk.errors import BackendError, BundleError, InputError
from cmc_sdk.export import verify_bundle
from cmc_sdk.runtime.backends.base import Array, DecoderInputs
from cmc_sdk.runtime.backends.wrapped import WrappedBackend
from cmc_sdk.runtime.gate import verify as verify_module
from cmc_sdk.runtime.gate.golden import decode_volume, encode_volume
from cmc_sdk.runtime.session import Session
from tests.export.exported import Exported

verify = functools.partial(verify_bundle, trust="development")


def rewrite(bundle: Path, target: Path, **changes: object) -> Path:
    """A bundle with other content and right hashes; a key is a path with __ for its separators."""
    opened = open_bundle(bundle)
    fields = opened.manifest.model_dump()
    files = {entry.path: opened.read(entry.path) for entry in opened.manifest.files}
    for name in ("files", "schema_version"):
        del fields[name]
    for path, change in changes.items():
        files[path] = change(files[path]) if callable(change) else change
    write_bundle(target, manifest_fields=fields, files=files)
    return target


def test_a_good_bundle_passes_on_every_backend(exported: Exported) -> None:
    stages: list[str] = []
    report = verify(exported.bundle, progress=lambda stage, done, total: stages.append(stage))
    assert report, report.faults
    assert report.golden.precision == {"openvino": "f32", "onnxruntime": "f32"}
    assert set(report.passed) == {("openvino", "f32"), ("onnxruntime", "f32")}
    # Both backends beside the golden labels: both modalities together twice, ct alone, mr alone.
    assert len(report.golden.runs) == 2 * 4
    assert {run.case for run in report.golden.runs} == {"synthetic"}
    # OpenVINO beside ONNX Runtime: the same, and both modalities of six stress scans.
    gate = report.gates["f32"]
    assert (gate.reference, gate.precision) == ("onnxruntime f32", {"openvino": "f32"})
    assert len(gate.runs) == 4 + 6 * 2
    assert stages[0] == "hashes"
    assert {"golden labels", "gate f32"} < set(stages)
    document = report.to_dict()
    assert document["passed"] is True
    assert document["golden"]["runs"][0]["dice"].keys() == {"liver", "spleen"}
    assert document["machine"]["packages"]["onnxruntime"]
    json.dumps(document, allow_nan=False)


@pytest.mark.slow
def test_one_backend_alone(exported: Exported) -> None:
    report = verify(exported.bundle, backends=["onnxruntime"])
    assert report
    assert report.passed == (("onnxruntime", "f32"),)
    assert report.gates["f32"].runs == ()  # It is the reference; its own values were looked at.
    openvino = verify(exported.bundle, backends=["openvino"])
    assert openvino.gates["f32"].reference == "onnxruntime f32"
    assert {run.backend for run in openvino.gates["f32"].runs} == {"openvino"}


@pytest.mark.slow
def test_without_onnx_runtime_the_report_says_who_stands_in(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_module, "installed_backends", lambda: ("openvino",))
    report = verify(exported.bundle)
    assert report
    assert "ONNX Runtime is not installed: openvino f32 is the reference in its place" in report.notes


@pytest.mark.slow
def test_ones_own_scans_go_through_the_gate(exported: Exported) -> None:
    report = verify(exported.bundle, images=exported.case.images, pairing="registered")
    assert report, report.faults
    own = [run for run in report.gates["f32"].runs if run.kind == "real"]
    assert [(run.present, run.modality) for run in own] == [
        (("ct", "mr"), "ct"), (("ct", "mr"), "mr"), (("ct",), "ct"), (("mr",), "mr"),
    ]  # fmt: skip
    assert all(run.agreement.undecided_vox == 0 and run.agreement.rates.foreground_vox > 100 for run in own)
    with pytest.raises(InputError, match="modality 'pet' is not one"):
        verify(exported.bundle, images={"pet": exported.case.images["ct"]})


def test_what_is_not_in_the_bundle_is_refused(exported: Exported) -> None:
    with pytest.raises(InputError, match="holds no int8"):
        verify(exported.bundle, precisions=["int8"])


def test_other_golden_labels_fail_with_class_and_place(exported: Exported, tmp_path: Path) -> None:
    def swap(content: bytes) -> bytes:
        volume = decode_volume(content, name="labels")
        return encode_volume(volume.with_array(np.array([0, 2, 1], np.uint8)[volume.stored]))

    path = "golden/synthetic/run-0/labels_ct.nii.gz"
    report = verify(rewrite(exported.bundle, tmp_path / "other.cmc", **{path: swap}), backends=["onnxruntime"])
    assert not report
    assert report.passed == ()
    fault = report.faults[0]
    assert fault.startswith("onnxruntime f32, ct of synthetic with ct + mr: class liver: ")
    assert "index (" in fault
    assert "RAS (" in fault
    assert fault.endswith("liver and spleen had changed places (beside the golden labels)")


@pytest.mark.slow
def test_a_backend_that_comes_with_the_device_is_held_to_its_limits(exported: Exported) -> None:
    class Engine(WrappedBackend):
        """ONNX Runtime, with one class suppressed."""

        def __init__(self) -> None:
            super().__init__(Session(exported.bundle, trust="development", backend="onnxruntime").backend)
            self.name = "engine"

        def decode(self, modality: str, inputs: DecoderInputs) -> Array:
            logits = super().decode(modality, inputs)
            logits[:, 2] = -50.0
            return logits

    report = verify(exported.bundle, backends=["onnxruntime"], others=[Engine()])
    assert not report
    assert report.passed == (("onnxruntime", "f32"),)
    place = "engine f32, ct of synthetic with ct + mr: class spleen: "
    assert any(fault.startswith(place) for fault in report.faults)


def test_a_graph_that_breaks_a_rule_is_refused_before_it_runs(exported: Exported, tmp_path: Path) -> None:
    def older(content: bytes) -> bytes:
        model = onnx.load_model_from_string(content)
        model.opset_import[0].version = 17
        return bytes(model.SerializeToString())

    path = "graphs/f32/encoder_ct.onnx"
    with pytest.raises(BundleError, match=r"encoder_ct\.onnx: opset 17 is outside 18 to 20"):
        verify(rewrite(exported.bundle, tmp_path / "old.cmc", **{path: older}))


def test_a_changed_byte_is_refused(exported: Exported, tmp_path: Path) -> None:
    copy = tmp_path / "copy.cmc"
    shutil.copytree(exported.bundle, copy)
    graph = copy / "graphs" / "f32" / "decoder_mr.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    with pytest.raises(BundleError, match=r"decoder_mr\.onnx is not the file that the manifest lists"):
        verify(copy)


def test_a_golden_volume_that_cannot_be_read_is_named(exported: Exported, tmp_path: Path) -> None:
    path = "golden/synthetic/image_ct.nii.gz"
    broken = rewrite(exported.bundle, tmp_path / "broken.cmc", **{path: b"no volume"})
    with pytest.raises(BundleError, match=r"image_ct\.nii\.gz is not a golden volume"):
        verify(broken)
    broken = rewrite(exported.bundle, tmp_path / "index.cmc", **{"golden/golden.json": b"{}"})
    with pytest.raises(BundleError, match="is not an index of golden cases"):
        verify(broken)


def test_no_backend_is_named(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "installed_backends", tuple)
    with pytest.raises(BackendError, match="no inference backend is installed"):
        verify(exported.bundle)


def test_verify_needs_neither_torch_nor_onnx(exported: Exported) -> None:
    program = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'torch', 'monai', 'onnx', 'onnxscript', 'scipy'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from cmc_sdk.cli.main import main\n"
        "main(['verify', sys.argv[1], '--development', '--backend', 'onnxruntime'])\n"
    )
    words = [sys.executable, "-c", program, str(exported.bundle)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("passed")
