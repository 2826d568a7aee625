"""The store: an engine comes back exactly as it was built, or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_sdk.errors import BackendError, InputError
from cmc_sdk.runtime.backends.tensorrt.state import StateFolder
from cmc_sdk.runtime.backends.tensorrt.store import EngineRecord, EngineStore, StoredFault, VerifiedRecord
from tests.runtime.backends.tensorrt.test_build_key import DEVICE, KEY

ENGINE = b"an engine " * 100
SHA = hashlib.sha256(ENGINE).hexdigest()
MANIFEST = "12" * 32


def make_record(**changes) -> EngineRecord:
    fields = {
        "key": KEY,
        "graph": "graphs/fp16/encoder_ct.onnx",
        "bundle": "tiny 1",
        "size": len(ENGINE),
        "sha256": SHA,
        "built": "2026-11-27T00:00:00+00:00",
        "seconds": 1.25,
        "peak_bytes": 1 << 30,
        "half_nodes": ("conv0",),
        "half_layers": 3,
        "float_layers": 1,
    }
    return EngineRecord(**{**fields, **changes})


@pytest.fixture
def store(tmp_path: Path):
    with StateFolder(tmp_path / "state", create=True) as folder:
        store = EngineStore(folder)
        store.put(make_record(), ENGINE)
        yield store


def files(store: EngineStore) -> dict[str, Path]:
    return {path.suffix: path for path in store.folder.path.iterdir()}


def test_an_engine_is_found_by_its_key_and_by_no_other(store):
    assert store.find(KEY) == make_record()
    assert store.load(store.find(KEY)) == ENGINE
    newer = KEY.model_copy(update={"version": "10.7.0.23"})
    assert store.find(newer) is None
    assert store.nearest(newer) == ["version 10.3.0.30 is now 10.7.0.23"]
    assert store.nearest(newer.model_copy(update={"graph_sha256": "ee" * 32})) == []
    assert list(store.records()) == [make_record()]


def test_a_second_build_replaces_the_first(store):
    engine = b"another"
    record = make_record(size=len(engine), sha256=hashlib.sha256(engine).hexdigest())
    store.put(record, engine)
    assert store.load(store.find(KEY)) == engine
    with pytest.raises(InputError, match="not of this engine"):
        store.put(record, ENGINE)


def test_an_engine_that_was_changed_is_refused(store):
    path = files(store)[".engine"]
    path.write_bytes(ENGINE[:-1] + b"!")
    with pytest.raises(InputError, match=r"\.engine was changed"):
        store.load(store.find(KEY))
    path.write_bytes(ENGINE[:-1])
    with pytest.raises(InputError, match=r"\.engine was changed"):
        store.load(store.find(KEY))
    path.write_bytes(ENGINE + b"!")
    with pytest.raises(InputError, match=r"\.engine has 1001 bytes"):
        store.load(store.find(KEY))
    path.unlink()
    with pytest.raises(InputError, match=r"\.engine is missing"):
        store.load(store.find(KEY))


def test_a_record_that_fits_a_changed_engine_is_refused_for_want_of_the_key(store):
    paths, engine = files(store), b"evil code"
    document = json.loads(paths[".json"].read_text())
    document["record"] |= {"size": len(engine), "sha256": hashlib.sha256(engine).hexdigest()}
    paths[".json"].write_text(json.dumps(document))
    paths[".engine"].write_bytes(engine)
    with pytest.raises(InputError, match="HMAC"):
        store.find(KEY)
    (fault,) = store.records()
    assert isinstance(fault, StoredFault)
    assert fault.name == paths[".json"].name


def test_another_folders_engines_are_refused(tmp_path, store):
    with StateFolder(tmp_path / "other", create=True) as folder:
        for path in store.folder.path.iterdir():
            if path.name != "key":
                shutil.copy(path, folder.path / path.name)
        with pytest.raises(InputError, match="comes from elsewhere"):
            EngineStore(folder).find(KEY)


def test_a_record_under_another_records_name_is_refused(store):
    path = files(store)[".json"]
    path.rename(path.with_name(f"{'0' * 64}.json"))
    with pytest.raises(InputError, match="not that of its name"):
        store.find(KEY)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_mutation_of_a_record_is_taken(store, data):
    path = files(store)[".json"]
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    flipped = bytes([whole[place] ^ (1 << data.draw(st.integers(0, 7)))])
    changed = {
        "flip": whole[:place] + flipped + whole[place + 1 :],
        "cut": whole[:place],
        "insert": whole[:place] + flipped + whole[place:],
    }[how]
    path.write_bytes(changed)
    try:
        found = store.find(KEY)
    except InputError:
        found = None
    finally:
        path.write_bytes(whole)
    # Blanks between the words of the JSON are the only thing that may differ.
    assert found in (None, make_record())
    if found is not None:
        assert json.loads(changed) == json.loads(whole)


def test_verify_must_have_passed_here_with_these_engines(store):
    asked = {"manifest_sha256": MANIFEST, "precision": "fp16", "engines": [SHA], "device": DEVICE}
    with pytest.raises(BackendError, match="not been verified on any device") as caught:
        store.require_verified(**asked)
    assert "cmc verify" in caught.value.mend
    store.keep_verified(
        VerifiedRecord(manifest_sha256=MANIFEST, precision="fp16", engines=(SHA,), device=DEVICE, when="now")
    )
    store.require_verified(**asked)
    updated = DEVICE.model_copy(update={"driver": "560.1"})
    with pytest.raises(BackendError, match=r"driver 540\.4\.0, L4T 36\.4\.3 is now 560\.1"):
        store.require_verified(**{**asked, "device": updated})
    with pytest.raises(BackendError, match="built after it was verified"):
        store.require_verified(**{**asked, "engines": [SHA, "ff" * 32]})
    with pytest.raises(BackendError, match="not been verified"):
        store.require_verified(**{**asked, "precision": "f32"})
    with pytest.raises(BackendError, match="not been verified"):
        store.require_verified(**{**asked, "manifest_sha256": "00" * 32})
    assert [type(item) for item in store.records()] == [EngineRecord]


def test_a_forged_verdict_is_refused(store):
    store.keep_verified(
        VerifiedRecord(manifest_sha256=MANIFEST, precision="fp16", engines=(SHA,), device=DEVICE, when="now")
    )
    (path,) = store.folder.path.glob("verified-*.json")
    path.write_text(path.read_text().replace(DEVICE.driver, "560.1"))
    with pytest.raises(InputError, match="HMAC"):
        store.require_verified(
            manifest_sha256=MANIFEST,
            precision="fp16",
            engines=[SHA],
            device=DEVICE.model_copy(update={"driver": "560.1"}),
        )


def test_a_timing_cache_is_kept_and_a_changed_one_is_forgotten(store):
    assert store.timing_cache("tensorrt-10") == b""
    store.keep_timing_cache("tensorrt-10", b"notes\nof two lines")
    assert store.timing_cache("tensorrt-10") == b"notes\nof two lines"
    path = store.folder.path / "tensorrt-10.timing"
    shutil.copy(path, path.with_name("tensorrt-11.timing"))
    assert store.timing_cache("tensorrt-11") == b""
    path.write_bytes(path.read_bytes() + b"!")
    assert store.timing_cache("tensorrt-10") == b""
    path.chmod(0o666)
    assert store.timing_cache("tensorrt-10") == b""
