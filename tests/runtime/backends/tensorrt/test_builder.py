"""Building in a child process with a stand-in for TensorRT: what is refused, what crashes, what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cmc_sdk.bundle import open_bundle
from cmc_sdk.errors import BackendError, BundleError, InputError, TrustError
from cmc_sdk.runtime.backends.tensorrt.driver import device_key, require_device
from cmc_sdk.runtime.backends.tensorrt.engine_check import check_engines
from cmc_sdk.runtime.backends.tensorrt.engines import BuildReport, build_engines, list_engines
from cmc_sdk.runtime.backends.tensorrt.state import StateFolder
from cmc_sdk.runtime.backends.tensorrt.store import EngineRecord, EngineStore, VerifiedRecord
from tests.runtime.backends.tensorrt.graphs import make_bundle

pytest.importorskip("onnx")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def built(bundle: Path, **options: Any) -> BuildReport:
    return build_engines(bundle, trust="development", **options)


@pytest.mark.slow
def test_every_graph_is_built_for_every_target_and_only_once(fake, bundle, state):
    fake("tensorrt_rtx")
    seen = []
    report = built(
        bundle, state=state, targets=("sm86", "sm120"), progress=lambda *step: seen.append(step), workspace_bytes=77
    )
    assert report, report.faults
    assert seen == [("engines", done, 4) for done in range(1, 5)]
    assert [(item.key.targets, item.reused) for item in report.builds] == [("sm86+sm120", False)] * 4
    for item in report.builds:
        record = item.record
        assert (record.half_layers > 0) is (item.key.precision == "fp16")
        assert record.float_layers > 0
        assert record.inspected_layers is None
        assert record.peak_bytes > 1 << 20
        assert record.seconds > 0
    assert all("workspace 77" in path.read_text() and "talk" not in path.read_text() for path in state.glob("*.log"))
    again = built(bundle, state=state, targets=("sm120",))
    assert [item.reused for item in again.builds] == [True] * 4
    assert len(list_engines(state)) == 4
    assert built(bundle, state=state, targets=("sm75",), precisions=("fp16",)).builds[0].key.targets == "sm75"
    document = json.loads(json.dumps(report.to_dict()))
    assert document["built"] is True
    assert document["engines"][0]["record"]["peak_bytes"] > 0


def test_tf32_is_off_and_there_is_one_profile_for_all_batches(fake, bundle, state):
    fake("tensorrt_rtx")
    report = built(bundle, state=state, targets=("sm86",), precisions=("f32",))
    with StateFolder(state) as folder:
        engine = EngineStore(folder).load(report.builds[0].record)
    assert json.loads(engine.partition(b":")[2].partition(b"\n")[0]) == {"told": None, "profiles": 1, "tf32": False}


def test_fp32_under_the_name_fp16_is_refused_before_it_is_built(fake, tmp_path, state):
    fake("tensorrt_rtx")
    hidden = make_bundle(tmp_path / "hidden.cmc", precisions=("f32", "fp16"), hidden=True)
    report = built(hidden, state=state, targets=("sm86",))
    assert not report
    assert [item.record is None for item in report.builds] == [False, False, True, True]
    assert "encoder_ct.onnx is called fp16, but none of its 2" in report.faults[0]
    assert isinstance(report.builds[2].fault, BundleError)
    assert len(list_engines(state)) == 2


@pytest.mark.slow
def test_a_graph_that_breaks_its_islands_is_refused(fake, tmp_path, state):
    fake("tensorrt_rtx")
    bare = make_bundle(tmp_path / "bare.cmc", precisions=("f32", "fp16"), island=False)
    report = built(bare, state=state, targets=("sm86",), precisions=("fp16",))
    assert "'plus'" in report.faults[0]
    assert "is FLOAT, not HALF" in report.faults[0]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("crash", "tensorrt_rtx ended by signal SIGSEGV while it built graphs/f32/encoder_ct.onnx for sm86"),
        ("killed", "most likely memory ran out"),
        ("refuse", "refuses graphs/f32/encoder_ct.onnx for sm86: operation 'conv' is not supported"),
    ],
)
def test_a_build_that_fails_is_named_and_its_log_is_kept(fake, tmp_path, state, told, words):
    fake("tensorrt_rtx")
    path = make_bundle(tmp_path / "bad.cmc", precisions=("f32",), told=told)
    report = built(path, state=state, targets=("sm86",))
    assert words in report.faults[0]
    assert all(item.fault.mend for item in report.builds)
    assert len(list(state.glob("*.log"))) == 2
    assert all("building with workspace" in log.read_text() for log in state.glob("*.log"))
    assert list_engines(state) == []
    assert not list(state.glob(".partial*"))


@pytest.mark.slow
def test_what_the_compiler_prints_goes_to_the_log(fake, tmp_path, state, capfd):
    fake("tensorrt_rtx")
    path = make_bundle(tmp_path / "bad.cmc", precisions=("f32",), told="crash")
    built(path, state=state, targets=("sm86",))
    assert capfd.readouterr() == ("", "")
    assert all("prints on standard output" in log.read_text() for log in state.glob("*.log"))


def test_an_unsigned_bundle_needs_a_word(fake, bundle, state):
    fake("tensorrt_rtx")
    with pytest.raises(TrustError, match="nobody was named"):
        build_engines(bundle, state=state, targets=("sm86",))
    with pytest.raises(TrustError, match="without asking"):
        build_engines(open_bundle(bundle), state=state, targets=("sm86",))
    assert not state.exists()


def test_wrong_wishes_are_refused(fake, bundle, state, no_driver, tmp_path):
    fake("tensorrt_rtx")
    with pytest.raises(InputError, match="sm87"):
        built(bundle, state=state, targets=("sm86", "sm87"))
    with pytest.raises(BackendError, match="engine for this machine cannot be built: no NVIDIA driver") as caught:
        built(bundle, state=state)
    assert "--target" in caught.value.mend
    single = make_bundle(tmp_path / "single.cmc", precisions=("f32",))
    with pytest.raises(BundleError, match="no fp16 graphs, only f32") as caught:
        built(single, state=state, targets=("sm86",), precisions=("fp16",))
    assert "--fp16" in caught.value.mend
    assert not state.exists()


@pytest.mark.slow
def test_in_place_it_is_built_timed_and_inspected(fake, bundle, state, driver):
    fake("tensorrt", version="10.3.0.30")
    report = built(bundle, state=state)
    assert report, report.faults
    first = report.builds[0]
    assert (first.key.flavour, first.key.targets, len(first.key.profiles)) == ("tensorrt", "sm87", 3)
    assert first.record.inspected_layers == 2
    with StateFolder(state) as folder:
        assert EngineStore(folder).timing_cache("tensorrt-10.3.0.30-sm87") == b"timed;" * 4


@pytest.mark.slow
def test_an_engine_that_is_not_what_it_should_be_is_refused_on_the_device(fake, tmp_path, state, driver):
    fake("tensorrt", version="10.3.0.30")
    path = make_bundle(tmp_path / "bad.cmc", precisions=("f32",), told="silently-half")
    report = built(path, state=state)
    assert "computes 'conv0' in FP16, the graph has it in FP32" in report.faults[0]
    assert list_engines(state) == []


@pytest.mark.slow
def test_another_version_builds_again_and_the_check_says_what_changed(fake, bundle, state, no_driver):
    fake("tensorrt_rtx", version="1.7.1")
    built(bundle, state=state, targets=("sm86",))
    assert check_engines(bundle, state=state, trust="development")
    fake("tensorrt_rtx", version="1.8.0")
    report = check_engines(bundle, state=state, trust="development")
    assert report, report.faults
    assert {(row.state, row.note) for row in report.rows} == {("other", "version 1.7.1 is now 1.8.0")}
    assert not any(item.reused for item in built(bundle, state=state, targets=("sm86",)).builds)


@pytest.mark.slow
def test_the_check_names_what_was_changed(fake, bundle, state, no_driver):
    fake("tensorrt_rtx")
    built(bundle, state=state, targets=("sm86",), precisions=("f32",))
    path = sorted(state.glob("*.engine"))[0]
    path.write_bytes(path.read_bytes()[::-1])
    report = check_engines(bundle, state=state, trust="development")
    assert not report
    assert path.name in report.faults[0]
    assert "no NVIDIA driver" in report.device


@pytest.mark.slow
def test_the_check_asks_for_an_engine_and_for_verify_on_the_device(fake, bundle, state, driver):
    fake("tensorrt", version="10.3.0.30")
    built(bundle, state=state, precisions=("f32",))
    report = check_engines(bundle, state=state, trust="development")
    assert [row.state for row in report.rows] == ["sound", "sound", "missing", "missing"]
    built(bundle, state=state)
    report = check_engines(bundle, state=state, trust="development")
    assert {row.state for row in report.rows} == {"sound"}
    assert not report
    assert "cmc verify" in report.faults[0]
    records = [item for item in list_engines(state) if isinstance(item, EngineRecord)]
    opened = open_bundle(bundle)
    with StateFolder(state) as folder:
        EngineStore(folder).keep_verified(
            VerifiedRecord(
                manifest_sha256=opened.manifest_sha256,
                precision="fp16",
                engines=tuple(sorted(item.sha256 for item in records if item.key.precision == "fp16")),
                device=device_key(require_device()),
                when="now",
            )
        )
    report = check_engines(bundle, state=state, trust="development")
    assert report, report.faults
    assert report.device == "Fake Orin 0 (sm87), driver 540.4.0: verified"
