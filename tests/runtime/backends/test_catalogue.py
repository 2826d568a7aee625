"""One place to extend: a row in the catalogue is all that a backend needs to be listed, run, timed and judged."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmc_sdk import write_volume
from cmc_sdk.bundle import open_bundle
from cmc_sdk.cli.main import main
from cmc_sdk.errors import InputError
from cmc_sdk.runtime.backends.catalogue import CATALOGUE, REFERENCE, add_row, find_row, gate_backends, ranked_pairs
from cmc_sdk.runtime.backends.select import select_backend
from tests.export.exported import Exported
from tests.runtime.backends.toy import TOY

pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parents[3]
ABOVE = ("session", "segmenter", "planning", "labelling", "gate", "scans", "results", "output", "doctor", "benchmark")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row, in its place; the benchmark's processes find its module from the root of the tests."""
    monkeypatch.setitem(CATALOGUE, "toy", TOY)
    monkeypatch.chdir(ROOT)


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    done = capsys.readouterr()
    return int(stopped.value.code or 0), done.out + done.err


@pytest.mark.usefixtures("toy")
def test_doctor_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    _, told = run(capsys, "doctor", "--json")
    assert json.loads(told)["backends"]["toy"]["devices"] == ["TOY"]
    _, told = run(capsys, "doctor")
    assert any(line.startswith("toy ") and line.endswith(": f32 on TOY") for line in told.splitlines())


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("command", ["infer", "bench", "verify"])
def test_help_names_it(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, told = run(capsys, command, "--help")
    assert code == 0
    assert "|toy]" in "".join(told.split())


@pytest.mark.usefixtures("toy")
def test_infer_labels_a_scan_with_it(exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_volume(exported.case.images["ct"], tmp_path / "ct.nii.gz")
    records = {}
    for name in ("toy", REFERENCE):
        words = ("--development", "--image", f"ct={tmp_path / 'ct.nii.gz'}", "--backend", name, "--threads", 1)
        code, told = run(capsys, "infer", exported.bundle, *words, "-o", tmp_path / name)
        assert code == 0, told
        records[name] = json.loads((tmp_path / name / "record.json").read_text())
    assert (records["toy"]["backend"], records["toy"]["precision"]) == ("toy", "f32")
    assert records["toy"]["backend_reason"] == "chosen by name; not among those that passed the gate"
    assert records["toy"]["volumes_ml"] == records[REFERENCE]["volumes_ml"]


@pytest.mark.usefixtures("toy")
def test_bench_measures_it_in_a_process_of_its_own(exported: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--development", "--backend", "toy", "--runs", 1, "--threads", 1, "--json")
    code, told = run(capsys, "bench", exported.bundle, *words)
    assert code == 0, told
    (measured,) = json.loads(told)["runs"]
    assert (measured["backend"], measured["precision"]) == ("toy", "f32")
    assert measured["cold"]["hash_s"] > 0


@pytest.mark.usefixtures("toy")
def test_the_gate_holds_it_to_the_limits(exported: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = run(capsys, "verify", exported.bundle, "--development", "--backend", "toy", "--json")
    document = json.loads(told)
    assert code == 0, document["faults"]
    assert {"backend": "toy", "precision": "f32"} in document["backends"]
    assert document["gates"]["f32"]["reference"] == "onnxruntime f32"
    assert {item["backend"] for item in document["gates"]["f32"]["runs"]} == {"toy"}


@pytest.mark.usefixtures("toy")
def test_its_rank_says_when_it_is_chosen(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = open_bundle(exported.bundle)
    assert ranked_pairs()[-1] == ("toy", "f32")
    assert gate_backends("f32")[-1] == "toy"
    assert select_backend(bundle, choice="auto").backend != "toy"
    monkeypatch.setitem(CATALOGUE, "toy", dataclasses.replace(TOY, ranks={"f32": 1}))
    untold = dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"passed": ()}))
    assert select_backend(untold, choice="auto").backend == "toy"


def test_without_its_row_it_is_unknown(exported: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="unknown backend 'toy'") as caught:
        find_row("toy")
    assert caught.value.mend == "use one of openvino, onnxruntime, onnxruntime-cuda, onnxruntime-tensorrt, tensorrt"
    code, told = run(
        capsys, "infer", exported.bundle, "--development", "--backend", "toy", "--image", "ct=x", "-o", "y"
    )
    assert code == 2
    assert "'toy' is not one of 'auto', 'openvino'" in told


def test_a_row_is_added_from_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, row in {**CATALOGUE, "toy": TOY}.items():  # so that what is added is taken out again
        monkeypatch.setitem(CATALOGUE, name, row)
    del CATALOGUE["toy"]
    assert TOY.path is not None
    add_row(TOY.path)
    assert CATALOGUE["toy"] is TOY
    with pytest.raises(InputError, match="is no row of a backend"):
        add_row("tests.runtime.backends.toy:ToyBackend")


def python_files(*places: str) -> Iterator[Path]:
    for place in places:
        yield from sorted((ROOT / place).rglob("*.py"))


def test_backends_know_nothing_of_those_who_use_them() -> None:
    files = list(python_files("runtime/backends"))
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert not name.startswith(tuple(f"cmc_sdk.runtime.{part}" for part in ABOVE)), f"{path}: {name}"


def test_no_backend_is_told_by_its_name_elsewhere() -> None:
    files = [path for path in python_files("runtime", "cmc_sdk/cli", "export") if "runtime/backends" not in str(path)]
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                words = {item.value for item in ast.walk(node) if isinstance(item, ast.Constant)}
                assert not words & {*CATALOGUE, "torch"}, f"{path}:{node.lineno}: {sorted(words & {*CATALOGUE})}"
