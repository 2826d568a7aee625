"""NVIDIA's own compiler, without a GPU: each graph of `tiny` and of `base` is parsed and built for four devices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cmc_sdk.runtime.backends.tensorrt.engines import build_engines
from cmc_sdk.runtime.backends.tensorrt.store import EngineRecord

pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: pip install 'cmc-sdk[rtx]'")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.slow

TARGETS = ("sm80", "sm86", "sm89", "sm120")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Preset tiny, ct and mr, random weights, f32 and fp16."""
    from benchmarks.engines.prepare import write_bundle_of

    return write_bundle_of("tiny", tmp_path_factory.mktemp("rtx") / "tiny.cmc")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Preset base, ct alone: graphs of a second modality are the same with other weights."""
    path = tmp_path_factory.mktemp("rtx") / "base.cmc"
    # In a process of its own, so that the network's memory is not this one's.
    words = ["base", str(path), "--modality", "ct"]
    subprocess.run([sys.executable, "-m", "benchmarks.engines.prepare", *words], check=True)
    return path


@pytest.mark.parametrize(("preset", "modalities", "most_bytes"), [("tiny", ("ct", "mr"), 2), ("base", ("ct",), 4)])
def test_every_graph_is_built_for_every_device_without_a_gpu(preset, modalities, most_bytes, request, tmp_path):
    bundle = request.getfixturevalue(preset)
    report = build_engines(bundle, state=tmp_path / "state", trust="development", targets=TARGETS)
    assert report, report.faults
    records = [item.record for item in report.builds]
    assert sorted(record.graph for record in records if record is not None) == [
        f"graphs/{precision}/{part}_{modality}.onnx"
        for precision in ("f32", "fp16")
        for part in ("decoder", "encoder")
        for modality in modalities
    ]
    for record in records:
        assert isinstance(record, EngineRecord)
        assert record.key.capabilities == TARGETS
        assert record.size > 1 << 20
        assert record.peak_bytes is not None
        assert record.peak_bytes < most_bytes << 30
        assert record.float_layers > 0
        assert (record.half_layers > 20, bool(record.half_nodes)) == (record.key.precision == "fp16",) * 2


def test_sm75_builds_what_it_can_and_refuses_fp32_convolutions_and_products_by_name(tiny, tmp_path):
    report = build_engines(tiny, state=tmp_path / "state", trust="development", targets=("sm75",))
    # Patch embedding is the encoders' only convolution, and in fp16; MIA's products of the decoders are an FP32 island.
    built = {item.graph for item in report.builds if item.record is not None}
    assert built == {f"graphs/fp16/encoder_{name}.onnx" for name in ("ct", "mr")}
    for item in report.builds:
        if item.fault is not None:
            words = "FP32 GEMM is not supported" if "fp16" in item.graph else "FP32 3D convolution is not supported"
            assert f"refuses {item.graph} for sm75: {words}, first in " in str(item.fault)
            assert "fp16 graphs whose islands hold no convolution" in item.fault.mend
