"""Opening: every way of not being what the manifest says is refused by name."""

from __future__ import annotations

import io
import json
import os
import random

import pytest

from cmc_sdk.bundle import open_bundle, reader
from cmc_sdk.bundle.manifest import SCHEMA_VERSION
from cmc_sdk.errors import BundleError
from tests.bundle.examples import edit_manifest, make_bundle, relist

ENCODER = "graphs/f32/encoder_ct.onnx"


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "a.cmc")


def refused(call, *parts):
    with pytest.raises(BundleError) as caught:
        call()
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert caught.value.mend
    assert "\n" not in message


def test_any_changed_byte_of_any_file_is_seen(bundle):
    opened = open_bundle(bundle)
    rng = random.Random(0)
    for entry in opened.manifest.files:
        path = bundle / entry.path
        whole = path.read_bytes()
        for at in {0, entry.size - 1, *(rng.randrange(max(1, entry.size)) for _ in range(5))} if entry.size else ():
            changed = bytearray(whole)
            changed[at] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            refused(lambda relpath=entry.path: opened.read(relpath), entry.path, "sha256")
            refused(open_bundle(bundle).verify_all, entry.path, "sha256")
        path.write_bytes(whole)
        assert opened.read(entry.path) == whole
    opened.verify_all()


def test_another_length_is_seen_at_once_and_after(bundle):
    opened = open_bundle(bundle)
    for content in (b"", b"x" * 10_000):
        (bundle / ENCODER).write_bytes(content)
        refused(lambda: open_bundle(bundle), ENCODER, f"has {len(content)} bytes", "lists")
        refused(lambda: opened.read(ENCODER), ENCODER, f"has {len(content)} bytes")
        refused(opened.verify_all, ENCODER, f"has {len(content)} bytes")


def test_a_size_that_is_claimed_is_not_believed(bundle):
    def change(manifest):
        manifest["files"][0]["size"] = 1 << 60

    edit_manifest(bundle, change)
    refused(lambda: open_bundle(bundle), str(1 << 60))


def test_missing_and_unlisted_files(bundle):
    for extra in ("notes.txt", "graphs/f32/.hidden", "MANIFEST.sig", "golden/new/deep.bin"):
        path = bundle / extra
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        refused(lambda: open_bundle(bundle), extra, "not listed")
        path.unlink()
    (bundle / ENCODER).unlink()
    refused(lambda: open_bundle(bundle), ENCODER, "missing")
    (bundle / ENCODER).mkdir()
    refused(lambda: open_bundle(bundle), ENCODER, "missing")


def test_a_file_that_grows_while_it_is_read(bundle, monkeypatch):
    opened = open_bundle(bundle)
    monkeypatch.setattr(reader, "_open_file", lambda folder, relpath, *, size: io.BytesIO(bytes(size + 100)))
    refused(lambda: opened.read(ENCODER), ENCODER, "bytes")
    refused(opened.verify_all, "bytes")


def test_a_file_that_goes_after_opening(bundle):
    opened = open_bundle(bundle)
    (bundle / ENCODER).unlink()
    refused(lambda: opened.read(ENCODER), ENCODER, "cannot be read")


def test_what_is_no_bundle(bundle, tmp_path):
    refused(lambda: open_bundle(tmp_path / "none.cmc"), "none.cmc", "does not exist")
    refused(lambda: open_bundle(bundle / "parity.json"), "is not a folder")
    refused(lambda: open_bundle(bundle / "graphs"), "holds no manifest.json")
    refused(lambda: open_bundle(bundle).read("manifest.json"), "lists no file")
    refused(lambda: open_bundle(bundle).read("../a.cmc/parity.json"), "lists no file", "parity.json")


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs symbolic links")
def test_links_and_pipes_are_never_followed(bundle, tmp_path):
    opened = open_bundle(bundle)
    copy = tmp_path / "copy.onnx"
    (bundle / ENCODER).rename(copy)
    (bundle / ENCODER).symlink_to(copy)
    refused(lambda: open_bundle(bundle), ENCODER, "is a link")
    refused(lambda: opened.read(ENCODER), ENCODER)
    (bundle / ENCODER).unlink()
    copy.rename(bundle / ENCODER)
    (bundle / "graphs").rename(tmp_path / "graphs")
    (bundle / "graphs").symlink_to(tmp_path / "graphs")
    refused(lambda: open_bundle(bundle), "graphs", "is a link")
    (bundle / "graphs").unlink()
    (tmp_path / "graphs").rename(bundle / "graphs")
    (bundle / ENCODER).unlink()
    os.mkfifo(bundle / ENCODER)
    refused(lambda: open_bundle(bundle), ENCODER, "not a plain file")
    refused(lambda: opened.read(ENCODER), ENCODER)  # and does not wait for a writer
    (bundle / ENCODER).unlink()
    (bundle / "dangling").symlink_to("nowhere")
    refused(lambda: open_bundle(bundle), "dangling", "is a link")


def test_a_link_to_the_bundle_itself_is_the_users_own(bundle, tmp_path):
    (tmp_path / "latest.cmc").symlink_to(bundle)
    open_bundle(tmp_path / "latest.cmc").verify_all()


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("../outside.bin", "'..'"),
        ("golden/../../x", "'..'"),
        ("golden/./x", "'.'"),
        ("golden//x", "''"),
        ("golden/", "''"),
        ("", "is empty"),
        ("/etc/passwd", "absolute"),
        ("C:/x", "absolute"),
        ("golden\\x", "backslash"),
        ("golden/nul.bin", "Windows"),
        ("golden/x.", "dot"),
        (".hidden", "dot"),
        ("golden/a b", "letters"),
        ("golden/\u0430.bin", "letters"),
        ("golden/x\x00y", "letters"),
        ("manifest.json", "reserved"),
        ("Manifest.SIG", "reserved"),
        ("PARITY.json", "by case only"),
        ("parity.json", "stands twice"),
        ("parity.json/x", "a folder"),
        ("a" * 90 + "/" + "b" * 90 + "/" + "c" * 90, "longer than"),
    ],
)
def test_paths_that_a_manifest_may_not_list(bundle, path, word):
    def change(manifest):
        manifest["files"].append({"path": path, "size": 0, "sha256": "0" * 64})

    edit_manifest(bundle, change)
    refused(lambda: open_bundle(bundle), "manifest.json", word)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda m: m.pop("schema_version"), "no schema_version"),
        (lambda m: m.update(schema_version=True), "no schema_version"),
        (lambda m: m.update(schema_version="1"), "no schema_version"),
        (lambda m: m.update(schema_version=SCHEMA_VERSION + 1), "upgrade cmc-sdk"),
        (lambda m: m.update(schema_version=0), "export the bundle again"),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m.pop("spec"), "spec"),
        (lambda m: m["spec"]["grid"].update(overlap="0.5"), "spec.grid.overlap"),
        (lambda m: m["spec"]["grid"].update(spacing_mm=[1.0, 1.0, -1.0]), "spec.grid.spacing_mm.2"),
        (lambda m: m["spec"].update(reference_modality="us"), "reference_modality"),
        (lambda m: m["files"][0].update(size=-1), "files.0.size"),
        (lambda m: m["files"][0].update(sha256="A" * 64), "files.0.sha256"),
        (lambda m: m["graphs"][0].update(path="parity.jso"), "not among the files"),
        (lambda m: m["graphs"].pop(), "is missing among the graphs"),
    ],
)
def test_a_manifest_that_breaks_the_schema(bundle, change, word):
    edit_manifest(bundle, change)
    refused(lambda: open_bundle(bundle), "manifest.json", word)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "Expecting value"),
        (b"[]", "no schema_version"),
        (b"null", "no schema_version"),
        (b"{", "Expecting"),
        (b'{"schema_version": 1, "schema_version": 1}', "twice"),
        (b"\xff\xfe{}", "UTF-8"),
        (b"[" * 33 + b"]" * 33, "deep"),
    ],
)
def test_a_manifest_that_is_no_strict_json(bundle, content, word):
    (bundle / "manifest.json").write_bytes(content)
    refused(lambda: open_bundle(bundle), "manifest.json", word)


def test_a_manifest_of_gigabytes_is_not_read(bundle):
    with open(bundle / "manifest.json", "r+b") as handle:
        handle.truncate(3 << 30)  # sparse
    refused(lambda: open_bundle(bundle), "manifest.json", str(3 << 30))


def test_the_identity_is_the_exact_bytes_of_the_manifest(bundle):
    before = open_bundle(bundle).manifest_sha256
    text = json.dumps(json.loads((bundle / "manifest.json").read_text()))
    (bundle / "manifest.json").write_text(text)
    assert open_bundle(bundle).manifest_sha256 != before


def test_content_may_be_listed_anew_only_by_another_manifest(bundle):
    (bundle / "parity.json").write_bytes(b"{}")
    relist(bundle, "parity.json")
    assert open_bundle(bundle).read("parity.json") == b"{}"
