"""What `cmc bench` measures: each backend in its own process, streams included, the start by its parts."""

from __future__ import annotations

import importlib.util
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from cmc_sdk.errors import BackendError, InputError, TrustError
from cmc_sdk.runtime.backends.base import DecoderInputs
from cmc_sdk.runtime.benchmark import BenchReport, BenchRun, ColdStart, Percentiles, bench_bundle
from cmc_sdk.runtime.benchmark.page import bench_page
from cmc_sdk.runtime.benchmark.timed import TimedBackend
from cmc_sdk.runtime.host.memory import peak_rss_bytes
from tests.runtime.stubs import StubBackend

pytest.importorskip("onnx")
for needed in ("openvino", "onnxruntime"):
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.runtime.backends.test_select import make_bundle

    return make_bundle(tmp_path_factory.mktemp("bench"))


def make_run(name: str, precision: str, *, seconds: float) -> BenchRun:
    times = Percentiles.of([seconds, 2 * seconds])
    return BenchRun(
        backend=name,
        precision=precision,
        reason=None,
        threads=None,
        streams=2,
        cold=ColdStart(import_s=0.25, hash_s=0.5, compile_s=1.0, first_window_s=2.0),
        windows=4,
        case=times,
        window=times,
        graphs={"encoder_ct": times},
        windows_per_s=4 / times.p50_s,
        outside_network=0.25,
        stages={"encode": 0.5},
        peak_rss_bytes=None,
        clock_mhz=None,
    )


def make_report(*runs: BenchRun, failed: dict[str, str] | None = None) -> BenchReport:
    return BenchReport(
        bundle="<liver> 1",
        manifest_sha256="ab" * 32,
        time_utc="2026-11-27T00:00:00+00:00",
        machine={"processor": "some", "cores": "2"},
        modalities=("ct",),
        size_vox=(16, 16, 13),
        runs=runs,
        failed=failed or {},
    )


def test_each_pair_is_measured_in_a_process_of_its_own(bundle):
    seen = []
    report = bench_bundle(
        bundle,
        trust="development",
        precisions=["f32"],
        threads=2,
        runs=3,
        progress=lambda stage, done, total: seen.append((stage, done, total)),
    )
    assert [run.name for run in report.runs] == ["openvino f32", "onnxruntime f32"]
    assert seen == [(run.name, done, 4) for run in report.runs for done in (1, 2, 3, 4)]
    assert report.failed == {}
    for run in report.runs:
        assert run.case.count == 3
        assert run.window.count == 3 * run.windows
        assert set(run.graphs) == {"encoder_ct", "encoder_mr", "decoder_ct", "decoder_mr"}
        assert all(item.count == 3 * run.windows for item in run.graphs.values())
        assert run.case.p50_s <= run.case.p90_s <= run.case.p99_s
        assert run.windows_per_s == pytest.approx(run.windows / run.case.p50_s)
        assert 0 <= run.outside_network < 1
        cold = run.cold
        assert min(cold.import_s, cold.hash_s, cold.compile_s, cold.first_window_s) > 0
        assert cold.total_s == pytest.approx(cold.import_s + cold.hash_s + cold.compile_s + cold.first_window_s)
        # A child's peak starts at that of the process that starts it, which in these tests may be large.
        assert run.peak_rss_bytes is None or 50e6 < run.peak_rss_bytes < 1e9 + (peak_rss_bytes() or 0)
    streams = {run.backend: run.streams for run in report.runs}
    assert streams == {"openvino": 2, "onnxruntime": 1}
    document = report.to_dict()
    assert document["runs"][0]["cold"]["total_s"] == report.runs[0].cold.total_s
    assert json.dumps(document)


@pytest.mark.slow
def test_a_pair_that_fails_does_not_take_the_others_with_it(bundle, monkeypatch, tmp_path):
    import shutil

    broken = tmp_path / "broken.cmc"
    shutil.copytree(bundle, broken)
    graph = broken / "graphs/fp16/encoder_ct.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    report = bench_bundle(broken, trust="development", backends=["onnxruntime"], runs=1)
    assert [run.name for run in report.runs] == ["onnxruntime f32"]
    assert "encoder_ct.onnx is not the file that the manifest lists" in report.failed["onnxruntime fp16"]
    assert "encoder_ct.onnx" in bench_page(report)
    with pytest.raises(BackendError, match="onnxruntime fp16 could not be measured"):
        bench_bundle(broken, trust="development", precisions=["fp16"], runs=1)


def test_wrong_use_is_refused_before_anything_is_measured(bundle):
    with pytest.raises(InputError, match="0 cases of runs"):
        bench_bundle(bundle, trust="development", runs=0)
    with pytest.raises(InputError, match="warm-up"):
        bench_bundle(bundle, trust="development", warm_up=0)
    with pytest.raises(BackendError, match="nothing of what was asked for"):
        bench_bundle(bundle, trust="development", backends=["openvino"], precisions=["fp16"])
    with pytest.raises(TrustError):
        bench_bundle(bundle)


def test_a_window_is_the_sum_of_its_graphs_whatever_stream_runs_it(monkeypatch):
    clock = threading.local()
    monkeypatch.setattr("cmc_sdk.runtime.benchmark.timed.time.perf_counter", lambda: clock.now)

    class Slow(StubBackend):
        def encode(self, modality, window):
            clock.now += {"ct": 1.0, "mr": 2.0}[modality] * clock.speed
            return super().encode(modality, window)

        def decode(self, modality, inputs):
            clock.now += {"ct": 10.0, "mr": 20.0}[modality] * clock.speed
            return super().decode(modality, inputs)

    timed = TimedBackend(Slow())
    turn = threading.Barrier(2)

    def stream(speed):
        clock.now, clock.speed = 0.0, speed
        window = np.zeros((1, 1, 16, 16, 16), np.float32)
        for _ in range(2):
            turn.wait()  # calls of the two streams interleave
            encoded = {name: timed.encode(name, window) for name in ("ct", "mr")}
            features = {name: item["features"] for name, item in encoded.items()}
            turn.wait()
            for name in ("ct", "mr"):
                timed.decode(name, DecoderInputs(features, np.ones((1, 2), np.float32), encoded[name], window))

    threads = [threading.Thread(target=stream, args=(speed,)) for speed in (1.0, 100.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(timed.windows()) == [33.0, 33.0, 3300.0, 3300.0]
    assert timed.best_streams == 1
    timed.forget()
    assert timed.windows() == []


def test_the_page_shows_every_run_and_loads_nothing():
    page = bench_page(
        make_report(make_run("openvino", "int8", seconds=1.0), make_run("onnxruntime", "f32", seconds=4.0))
    )
    assert "&lt;liver&gt; 1" in page
    assert page.count("<svg") == 2
    assert page.count("<rect") == 2 * (2 + 4)
    for words in ("openvino int8", "onnxruntime f32", "1.50 s", "6.00 s", "3.75 s", "25.0%", "unknown", "some"):
        assert words in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def test_relative_speed_is_against_the_slowest():
    report = make_report(make_run("openvino", "int8", seconds=1.0), make_run("onnxruntime", "f32", seconds=4.0))
    assert report.relative() == {"openvino int8": 4.0, "onnxruntime f32": 1.0}


def test_percentiles_lie_between_measurements():
    found = Percentiles.of([1.0, 2.0, 3.0])
    assert (found.p50_s, found.p90_s, found.count) == (2.0, pytest.approx(2.8), 3)
