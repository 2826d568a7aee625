"""Writing: whole or not at all, the same bytes from the same inputs, and only what will open again."""

from __future__ import annotations

import errno
import hashlib
import json

import pytest

from cmc_sdk.bundle import open_bundle, write_bundle
from cmc_sdk.bundle import writer as writer_module
from cmc_sdk.errors import BundleError, InputError, ResourceError
from tests.bundle.examples import contents, fields, graph, make_bundle


def test_what_is_written_is_what_is_read(tmp_path):
    source = tmp_path / "encoder.onnx"
    source.write_bytes(b"from a file" * 1000)
    files = {**contents(), "graphs/f32/encoder_ct.onnx": source}
    manifest = write_bundle(tmp_path / "a.cmc", manifest_fields=fields(), files=files)
    bundle = open_bundle(tmp_path / "a.cmc")
    assert bundle.manifest == manifest
    assert bundle.manifest.spec == fields()["spec"]
    assert [entry.path for entry in manifest.files] == sorted(files)
    for relpath, content in files.items():
        assert bundle.read(relpath) == (content if isinstance(content, bytes) else content.read_bytes())
    data = (tmp_path / "a.cmc" / "manifest.json").read_bytes()
    assert bundle.manifest_sha256 == hashlib.sha256(data).hexdigest()
    seen = []
    bundle.verify_all(progress=lambda path, done, total: seen.append((path, done, total)))
    assert [item[1] for item in seen] == list(range(1, len(files) + 1))


def test_equal_inputs_give_equal_bytes(tmp_path):
    first, second = make_bundle(tmp_path / "a.cmc"), tmp_path / "b.cmc"
    write_bundle(second, manifest_fields=fields(), files=dict(reversed(contents().items())))
    assert (first / "manifest.json").read_bytes() == (second / "manifest.json").read_bytes()


def test_a_bundle_is_never_written_over(tmp_path):
    make_bundle(tmp_path / "a.cmc")
    with pytest.raises(InputError, match="exists already"):
        make_bundle(tmp_path / "a.cmc")
    with pytest.raises(InputError, match="its folder does not exist"):
        make_bundle(tmp_path / "nowhere" / "a.cmc")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"files": ()}, "files is not for the caller"),
        ({"schema_version": 1}, "schema_version is not for the caller"),
        ({"colour": "red"}, "colour"),
        ({"name": None}, "name"),
        ({"provenance": {"loss": float("nan")}}, "only finite numbers"),
        ({"provenance": {"path": object()}}, "not JSON serializable"),
        ({"provenance": {"tokens": 10**40}}, "digits"),
        ({"graphs": ()}, "the f32 encoder of ct is missing"),
        ({"graphs": (*fields()["graphs"], graph("ct", "encoder"))}, "are both the f32 encoder of ct"),
        ({"graphs": (*fields()["graphs"], graph("pet", "encoder"))}, "none of ['ct', 'mr']"),
        ({"seen": {"pet": {}}}, "'pet' is none of the modalities"),
    ],
)
def test_a_manifest_that_breaks_the_schema_is_refused(tmp_path, changes, part):
    with pytest.raises(BundleError) as caught:
        make_bundle(tmp_path / "a.cmc", **changes)
    assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_without_its_file_is_refused(tmp_path):
    files = contents()
    del files["graphs/f32/decoder_mr.onnx"]
    with pytest.raises(BundleError, match=r"graphs/f32/decoder_mr\.onnx is not among the files"):
        write_bundle(tmp_path / "a.cmc", manifest_fields=fields(), files=files)
    with pytest.raises(BundleError, match=r"gone\.onnx, meant for golden/x, cannot be read"):
        write_bundle(
            tmp_path / "a.cmc", manifest_fields=fields(), files={**contents(), "golden/x": tmp_path / "gone.onnx"}
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_nothing(tmp_path, monkeypatch, error):
    def full(handle):
        raise error

    monkeypatch.setattr(writer_module, "_flush", full)
    with pytest.raises(ResourceError if isinstance(error, OSError) else KeyboardInterrupt):
        make_bundle(tmp_path / "a.cmc")
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_is_readable_by_people(tmp_path):
    text = (
        make_bundle(tmp_path / "a.cmc", intended_use="Forschung – nicht für Patienten") / "manifest.json"
    ).read_text(encoding="utf-8")
    assert "nicht für Patienten" in text
    assert json.loads(text)["schema_version"] == 1
