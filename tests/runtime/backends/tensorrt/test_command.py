"""`cmc engine`: what it prints, what it refuses, and its exit codes; with a stand-in for TensorRT."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from cmc_sdk.cli.main import main
from tests.cli.command import Outcome
from tests.runtime.backends.tensorrt.graphs import make_bundle

pytest.importorskip("onnx")


@pytest.fixture
def engine(capsys: pytest.CaptureFixture[str], no_driver: None) -> Callable[..., Outcome]:
    """Run `cmc engine …` in this process."""

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(["engine", *(str(word) for word in words)])
        out, err = capsys.readouterr()
        return Outcome(int(stopped.value.code or 0), out, err)

    return run


@pytest.mark.slow
def test_build_list_and_check(engine, fake, bundle, tmp_path):
    fake("tensorrt_rtx")
    state = tmp_path / "state"
    words = ["build", bundle, "--state", state, "--development", "--target", "sm86,sm120", "--precision", "fp16"]
    built = engine(*words)
    assert built.code == 0, built.err
    assert built.out.splitlines()[1].split()[:4] == [
        "built",
        "graphs/fp16/encoder_ct.onnx",
        "sm86+sm120",
        "tensorrt_rtx",
    ]
    assert built.err == ""
    again = json.loads(engine(*words, "--json").out)
    assert again["built"] is True
    assert [item["reused"] for item in again["engines"]] == [True, True]
    listed = engine("list", "--state", state)
    assert listed.code == 0
    assert listed.out.count("tiny 1") == 2
    checked = engine("check", bundle, "--state", state, "--development")
    assert checked.code == 0, checked.out
    assert checked.out.count(" sound") == 2
    assert "no NVIDIA driver" in checked.out
    path = sorted(state.glob("*.engine"))[0]
    path.write_bytes(b"evil")
    broken = engine("check", bundle, "--state", state, "--development")
    assert broken.code == 1
    assert f"{path} was changed" in broken.out
    record = sorted(state.glob("*.json"))[0]
    record.write_text(record.read_text().replace("tiny", "tony"))
    listed = engine("list", "--state", state, "--json")
    assert listed.code == 1
    assert len(json.loads(listed.out)["engines"]) == 1
    assert "HMAC" in json.loads(listed.out)["faults"][0]


def test_a_refused_engine_is_a_row_and_a_line_and_exit_code_1(engine, fake, tmp_path):
    fake("tensorrt_rtx")
    bad = make_bundle(tmp_path / "bad.cmc", precisions=("f32",), told="refuse")
    done = engine("build", bad, "--state", tmp_path / "state", "--development", "--target", "sm86")
    assert done.code == 1
    assert done.out.count("refused") == 2
    assert "operation 'conv' is not supported" in done.out


def test_wrong_use_is_one_line(engine, fake, bundle, tmp_path):
    fake("tensorrt_rtx")
    state = tmp_path / "state"
    build = ["build", bundle, "--state", state, "--development"]
    cases = [
        ([*build, "--target", "sm87"], 2, "Jetson Orin"),
        ([*build, "--target", "sm86", "--precision", "int8"], 2, "none of f32, fp16"),
        ([*build, "--target", "sm86", "--workspace", "much"], 2, "no amount of memory"),
        ([*build, "--target", "sm86", "--flavour", "tensorrt"], 2, "only for the device"),
        (build, 1, "no NVIDIA driver"),
        (["build", bundle, "--state", state, "--target", "sm86"], 2, "--development"),
        (["list", "--state", tmp_path / "nowhere"], 2, "does not exist"),
        (["check", bundle, "--state", tmp_path / "nowhere", "--development"], 2, "does not exist"),
    ]
    for words, code, line in cases:
        done = engine(*words)
        assert (done.code, line in done.error) == (code, True), done.err
    assert not state.exists()
    tmp_path.chmod(0o777)
    state.mkdir()
    state.chmod(0o777)
    assert "chmod 700" in engine(*build, "--target", "sm86").error


def test_every_help_has_an_example(engine):
    for name in ("build", "list", "check"):
        assert f"Example: cmc engine {name}" in engine(name, "--help").out
