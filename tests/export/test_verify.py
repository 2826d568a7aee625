"""Verifying a bundle: hashes, golden labels on every backend, and the faults that it must find."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cmc_sdk.bundle import open_bundle, write_bundle
from cmc_sdk.errors import BackendError, BundleError
from cmc_sdk.export import verify_bundle
from cmc_sdk.runtime import verify as verify_module
from cmc_sdk.runtime.golden import decode_volume, encode_volume
from tests.export.exported import Exported


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
    report = verify_bundle(
        exported.bundle, trust="development", progress=lambda stage, done, total: stages.append(stage)
    )
    assert report, report.faults
    assert report.precision == {"openvino": "f32", "onnxruntime": "f32"}
    # Two backends against golden and each other, four modality runs: both twice, ct alone, mr alone.
    assert len(report.runs) == 3 * 4
    assert {run.against for run in report.runs} == {"golden", "openvino"}
    assert {"hashes", "golden"} == set(stages)
    document = report.to_dict()
    assert document["passed"] is True
    assert document["runs"][0]["dice"].keys() == {"liver", "spleen"}


def test_one_backend_alone(exported: Exported) -> None:
    report = verify_bundle(exported.bundle, trust="development", backends=["onnxruntime"])
    assert report
    assert {run.backend for run in report.runs} == {"onnxruntime"}


def test_other_golden_labels_fail_with_class_and_figure(exported: Exported, tmp_path: Path) -> None:
    def swap(content: bytes) -> bytes:
        volume = decode_volume(content, name="labels")
        return encode_volume(volume.with_array(np.array([0, 2, 1], np.uint8)[volume.stored]))

    path = "golden/synthetic/run-0/labels_ct.nii.gz"
    report = verify_bundle(
        rewrite(exported.bundle, tmp_path / "other.cmc", **{path: swap}), trust="development", backends=["onnxruntime"]
    )
    assert not report
    assert "onnxruntime against golden, ct of synthetic with ct + mr: class liver: Dice 0" in report.faults[0]


def test_a_changed_byte_is_refused(exported: Exported, tmp_path: Path) -> None:
    copy = tmp_path / "copy.cmc"
    shutil.copytree(exported.bundle, copy)
    graph = copy / "graphs" / "f32" / "decoder_mr.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    with pytest.raises(BundleError, match=r"decoder_mr\.onnx is not the file that the manifest lists"):
        verify_bundle(copy, trust="development")


def test_a_golden_volume_that_cannot_be_read_is_named(exported: Exported, tmp_path: Path) -> None:
    path = "golden/synthetic/image_ct.nii.gz"
    broken = rewrite(exported.bundle, tmp_path / "broken.cmc", **{path: b"no volume"})
    with pytest.raises(BundleError, match=r"image_ct\.nii\.gz is not a golden volume"):
        verify_bundle(broken, trust="development")
    broken = rewrite(exported.bundle, tmp_path / "index.cmc", **{"golden/golden.json": b"{}"})
    with pytest.raises(BundleError, match="is not an index of golden cases"):
        verify_bundle(broken, trust="development")


def test_no_backend_is_named(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "installed_backends", tuple)
    with pytest.raises(BackendError, match="no inference backend is installed"):
        verify_bundle(exported.bundle, trust="development")


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
