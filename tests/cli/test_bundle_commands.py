"""info, verify, bench, doctor and export on the command line."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmc_sdk.bundle.manifest import ModalitySpec
from cmc_sdk.bundle.series_rule import SeriesRule
from cmc_sdk.cli.info import _modality
from cmc_sdk.runtime import doctor as machine
from cmc_sdk.runtime.backends.catalogue import CATALOGUE
from cmc_sdk.runtime.backends.row import BackendState
from tests.cli.command import Outcome
from tests.export.exported import Exported

Cmc = Callable[..., Outcome]


def test_info_shows_everything_that_is_known(cmc: Cmc, exported: Exported) -> None:
    done = cmc("info", exported.bundle)
    assert done.code == 0
    for words in (
        "small 2", "Apache-2.0", "ct (CT; clip -200 … 300 HU; zscore)", "mr (MR; arbitrary units, no clip; zscore)",
        "1 liver, 2 spleen", "2 × 2 × 2 mm, window 16 × 16 × 16 voxels, overlap 25%", "method cmc, seed 3",
        "graphs/f32/encoder_ct.onnx", "window → features, skip_0", "ct: liver 0.900", "openvino", "ct+mr",
        "f32 beside torch", "real scans", "golden scans", "stress scans", "farthest mm", "sha256",
    ):  # fmt: skip
        assert words in done.out
    assert "Traceback" not in done.err


def test_info_as_json(cmc: Cmc, exported: Exported) -> None:
    document = json.loads(cmc("info", exported.bundle, "--json").out)
    assert document["manifest"]["name"] == "small"
    assert document["parity"]["f32"]["passed"] is True
    assert len(document["manifest_sha256"]) == 64


def test_info_of_a_bundle_without_figures(cmc: Cmc, bundle: Path) -> None:
    done = cmc("info", bundle)
    assert done.code == 0
    assert "none is recorded" in done.out
    assert json.loads(cmc("info", bundle, "--json").out)["parity"] is None


def test_verify_passes(cmc: Cmc, exported: Exported) -> None:
    done = cmc("verify", exported.bundle, "--backend", "onnxruntime")
    assert done.code == 0
    assert done.out.strip().endswith("passed")
    assert "openvino" not in done.out
    document = json.loads(cmc("verify", exported.bundle, "--backend", "onnxruntime", "--json").out)
    assert document["passed"] is True


def test_verify_fails_with_exit_code_1(cmc: Cmc, exported: Exported, tmp_path: Path) -> None:
    from tests.runtime.gate.test_verify import rewrite

    labels = {f"golden/synthetic/run-{n}/labels_mr.nii.gz": (lambda content: blank(content)) for n in (0, 2)}
    changed = rewrite(exported.bundle, tmp_path / "changed.cmc", **labels)
    done = cmc("verify", changed, "--backend", "onnxruntime")
    assert done.code == 1
    assert "class " in done.out
    assert done.out.strip().endswith("failed")


def blank(content: bytes) -> bytes:
    from cmc_sdk.runtime.gate.golden import decode_volume, encode_volume

    volume = decode_volume(content, name="labels")
    return encode_volume(volume.with_array(volume.stored * 0))


def test_verify_refuses_a_changed_byte_and_a_bundle_without_golden_scans(
    cmc: Cmc, exported: Exported, bundle: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.cmc"
    shutil.copytree(exported.bundle, copy)
    (copy / "parity.json").write_bytes((copy / "parity.json").read_bytes().replace(b"true", b"TRUE", 1))
    done = cmc("verify", copy)
    assert done.code == 2
    assert "parity.json is not the file that the manifest lists" in done.error
    assert cmc("verify", bundle).code == 2
    assert "golden/golden.json" in cmc("verify", bundle).error


def test_bench(cmc: Cmc, exported: Exported, tmp_path: Path) -> None:
    words = ("bench", exported.bundle, "--development", "--runs", 2, "--backend", "onnxruntime")
    done = cmc(*words, "--html", tmp_path / "page.html")
    assert done.code == 0, done.err
    for line in (
        "small 2: ct + mr",
        "2 cases after a warm-up",
        "window p50",
        "windows/s",
        "onnxruntime f32",
        "compile",
    ):
        assert line in done.out
    assert "openvino" not in done.out
    assert "<svg" in (tmp_path / "page.html").read_text()
    assert "exists already" in cmc(*words, "--html", tmp_path / "page.html").error
    document = json.loads(cmc(*words, "--json").out)
    (run,) = document["runs"]
    assert run["case"]["count"] == 2
    assert run["case"]["p50_s"] <= run["case"]["p90_s"] <= run["case"]["p99_s"]
    assert 0 <= run["outside_network"] < 1
    assert run["window"]["count"] == 2 * run["windows"]
    assert run["peak_rss_bytes"] is None or run["peak_rss_bytes"] > 1e6
    assert run["cold"]["total_s"] > 0
    assert "nothing of what was asked for" in cmc(*words, "--precision", "int8").error


def test_doctor(cmc: Cmc, monkeypatch: pytest.MonkeyPatch) -> None:
    usable = BackendState(True, "1.0", ("f32",), ("CPU",), "")
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(CATALOGUE, name, dataclasses.replace(CATALOGUE[name], examine=lambda _: usable))
    monkeypatch.setattr(machine, "installed_version", {"onnxruntime": "1.0"}.get)
    done = cmc("doctor")
    assert done.code == 0
    assert "1.0: f32 on CPU" in done.out
    assert "no fault found" in done.out
    assert json.loads(cmc("doctor", "--json").out)["faults"] == []
    monkeypatch.setattr(machine, "installed_version", {"onnxruntime": "1.0", "onnxruntime-gpu": "1.0"}.get)
    faulty = cmc("doctor")
    assert faulty.code == 1
    assert "fault: onnxruntime and onnxruntime-gpu are both installed" in faulty.out


def test_export_refuses_a_folder_that_is_no_run_and_an_output_that_exists(cmc: Cmc, tmp_path: Path) -> None:
    done = cmc("export", tmp_path, "-o", tmp_path / "out.cmc")
    assert done.code == 2
    assert "no run folder" in done.error
    (tmp_path / "there.cmc").mkdir()
    assert "there.cmc exists already" in cmc("export", tmp_path, "-o", tmp_path / "there.cmc").error
    assert cmc("export", tmp_path / "nowhere", "-o", tmp_path / "out.cmc").code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.cmc"]


def test_export_prints_the_figures(
    cmc: Cmc, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cmc_sdk import export
    from cmc_sdk.bundle import open_bundle

    def copy_instead(run: Path, *, output: Path, **fields: object) -> object:
        assert fields["version"] == "7"
        shutil.copytree(exported.bundle, output)
        return open_bundle(output).manifest

    monkeypatch.setattr(export, "export_bundle", copy_instead, raising=False)
    done = cmc("export", tmp_path, "-o", tmp_path / "out.cmc", "--version", "7")
    assert done.code == 0
    assert "small 2, 20 files" in done.out
    assert "lowest Dice" in done.out


def test_a_precision_left_out_of_the_bundle_is_an_error_after_the_rest_is_written(
    cmc: Cmc, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cmc_sdk import export
    from cmc_sdk.bundle import open_bundle
    from cmc_sdk.errors import ParityError

    def refuse_bf16(run: Path, *, output: Path, **fields: Any) -> object:
        fields["on_refusal"]("bf16", ParityError("2,040 of 116,919 foreground voxels flip", mend="never shown"))
        shutil.copytree(exported.bundle, output)
        return open_bundle(output).manifest

    monkeypatch.setattr(export, "export_bundle", refuse_bf16, raising=False)
    done = cmc("export", tmp_path, "-o", tmp_path / "out.cmc", "--bf16")
    assert done.code == 1
    assert done.error == (
        f"error: {tmp_path / 'out.cmc'} is written without bf16: bf16: 2,040 of 116,919 foreground voxels flip; "
        "use it in the precisions that passed, or train longer and export again"
    )
    assert "small 2, 20 files" in done.out
    done = cmc("export", tmp_path, "-o", tmp_path / "other.cmc", "--bf16", "--json")
    assert done.code == 1
    assert json.loads(done.out)["refused"].keys() == {"bf16"}


@pytest.mark.parametrize("name", ["export", "verify", "bench", "info", "doctor"])
def test_help_has_an_example(cmc: Cmc, name: str) -> None:
    done = cmc(name, "--help")
    assert done.code == 0
    assert f"cmc {name}" in done.out.split("Example")[1]


def test_info_prints_which_series_a_modality_means() -> None:
    rule = SeriesRule(words=("t2*",), without=("localizer",), b_value=(0, 100), min_slices=8)
    item = ModalitySpec(name="t2", dicom_modality="MR", series=rule).model_dump(mode="json")
    assert "series: words t2*, without localizer, b_value 0.0 100.0, min_slices 8)" in _modality(item)
    assert "series" not in _modality(ModalitySpec(name="t2").model_dump(mode="json"))
