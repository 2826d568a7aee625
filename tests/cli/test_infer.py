"""`cmc infer`: what it writes, what it prints, and what it never touches."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cmc_sdk import Session, read_volume, write_volume
from tests.cli.command import AFFINE, Outcome, make_scan

Cmc = Callable[..., Outcome]


def test_writes_labels_confidence_and_record_on_each_scans_own_grid(
    cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = cmc("infer", bundle, "--image", f"ct={scans['ct']}", "--image", f"mr={scans['mr']}", "-o", out)
    assert done.code == 0, done.err
    assert done.err == ""
    names = {path.name for path in out.iterdir()}
    assert names == {
        "labels_ct.nii.gz", "labels_mr.nii.gz", "confidence_ct.nii.gz", "confidence_mr.nii.gz", "record.json"
    }  # fmt: skip
    for modality, path in scans.items():
        source, labels = nib.load(path), nib.load(out / f"labels_{modality}.nii.gz")
        assert labels.shape == source.shape
        assert np.array_equal(labels.affine, source.affine)
        assert labels.get_data_dtype() == np.uint8
        for field in ("sform_code", "qform_code", "pixdim", "srow_x", "quatern_b", "xyzt_units"):
            assert np.array_equal(labels.header[field], source.header[field]), field
        assert set(np.unique(labels.dataobj)) <= {0, 1, 2}
    record = json.loads((out / "record.json").read_text())
    assert set(record) >= {"backend", "precision", "bundle", "quality", "presence", "warnings"}
    assert "liver" in done.out
    assert "quality" in done.out
    assert str(out / "labels_ct.nii.gz") in done.out


def test_any_subset_and_either_backend(cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path) -> None:
    labels = {}
    for backend in ("openvino", "onnxruntime"):
        out = tmp_path / backend
        done = cmc("infer", bundle, "--image", f"mr={scans['mr']}", "-o", out, "--backend", backend, "--threads", 1)
        assert done.code == 0, done.err
        assert {path.name for path in out.iterdir()} == {"labels_mr.nii.gz", "confidence_mr.nii.gz", "record.json"}
        assert json.loads((out / "record.json").read_text())["backend"] == backend
        labels[backend] = read_volume(out / "labels_mr.nii.gz").stored
    assert np.mean(labels["openvino"] == labels["onnxruntime"]) > 0.999


def test_the_files_are_what_the_python_face_answers(
    bundle: Path, cmc: Cmc, scans: dict[str, Path], tmp_path: Path
) -> None:
    done = cmc(
        "infer", bundle, "--image", f"ct={scans['ct']}", "-o", tmp_path / "out", "--backend", "onnxruntime", "--json"
    )
    document = json.loads(done.out)
    result = Session(bundle, trust="development", backend="onnxruntime").infer({"ct": scans["ct"]})
    assert np.array_equal(read_volume(document["files"]["labels_ct"]).stored, result.labels["ct"].stored)
    assert np.array_equal(read_volume(document["files"]["confidence_ct"]).stored, result.confidence["ct"].stored)
    assert document["volumes_ml"] == {"ct": pytest.approx(result.volumes_ml["ct"])}
    assert document["quality"]["status"] == result.quality.status


def test_the_same_command_gives_the_same_bytes(cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path) -> None:
    for name, threads in (("one", 1), ("two", 2)):
        words = ["infer", bundle, "--image", f"ct={scans['ct']}", "-o", tmp_path / name, "--threads", threads]
        assert cmc(*words).code == 0
    for file in ("labels_ct.nii.gz",):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_report_is_one_page(cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()  # an empty folder may stand there already
    done = cmc("infer", bundle, "--image", f"ct={scans['ct']}", "--image", f"mr={scans['mr']}", "-o", out, "--report")
    assert done.code == 0, done.err
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2 * 12
    assert "tiny" in page
    assert str(tmp_path) not in page  # paths may hold a patient's name


def test_scans_on_two_grids_are_paired_only_on_demand(
    cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path
) -> None:
    moved = AFFINE.copy()
    moved[:3, 3] += (4, -6, 3)
    write_volume(make_scan(seed=1, size=(20, 22, 12), affine=moved), scans["mr"])
    records = {}
    for pairing in ("auto", "registered", "separate"):
        out = tmp_path / pairing
        words = ["--image", f"ct={scans['ct']}", "--image", f"mr={scans['mr']}", "--pairing", pairing]
        done = cmc("infer", bundle, *words, "-o", out)
        assert done.code == 0, done.err
        assert ("--pairing registered" in done.out) is (pairing == "auto")
        assert read_volume(out / "labels_mr.nii.gz").size_vox == (20, 22, 12)
        records[pairing] = json.loads((out / "record.json").read_text())
    assert any("--pairing registered" in warning for warning in records["auto"]["warnings"])
    assert not any("--pairing" in warning for warning in records["registered"]["warnings"])


def test_the_command_imports_neither_torch_nor_monai_nor_onnx(
    bundle: Path, scans: dict[str, Path], tmp_path: Path
) -> None:
    program = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'torch', 'monai', 'onnx', 'scipy', 'matplotlib', 'yaml',\n"
        "             'nibabel', 'pydicom', 'highdicom'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from cmc_sdk.cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    words = ["infer", str(bundle), "--image", f"ct={scans['ct']}", "-o", str(tmp_path / "out"), "--report"]
    words.append("--development")
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_record_says_what_openvino_was_kept_to(bundle: Path, scans: dict[str, Path], tmp_path: Path) -> None:
    """In a process of its own: OpenVINO reads the variable once."""
    out = tmp_path / "out"
    words = [sys.executable, "-m", "cmc_sdk.cli", "infer", str(bundle), "--development", "-o", str(out)]
    words += ["--image", f"ct={scans['ct']}", "--backend", "openvino"]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "record.json").read_text())["backend_reason"].endswith("; instructions up to AVX2")


WATCH = """
import os, sys
def watch(event, arguments):
    if event.startswith("socket."):
        with open(os.environ["CMC_WATCH"], "a") as log:
            log.write(repr((event, [int(a) if isinstance(a, int) else str(a) for a in arguments[1:]])) + "\\n")
sys.addaudithook(watch)
"""


def lonely_environment(tmp_path: Path) -> dict[str, str]:
    """No CI in the environment, an empty home, and a hook that writes down every socket that Python makes."""
    hooks, home = tmp_path / "hooks", tmp_path / "home"
    hooks.mkdir()
    home.mkdir()
    (hooks / "sitecustomize.py").write_text(WATCH)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CI", "XDG_", "GITHUB_"))}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(hooks), "CMC_WATCH": str(tmp_path / "sockets.log")}


def infer_words(bundle: Path, scans: dict[str, Path], tmp_path: Path, backend: str) -> list[str]:
    return [
        sys.executable, "-m", "cmc_sdk.cli", "infer", str(bundle), "--development", "--image", f"ct={scans['ct']}",
        "--image", f"mr={scans['mr']}", "-o", str(tmp_path / "out"), "--report", "--backend", backend,
    ]  # fmt: skip


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_opens_no_network_socket_and_leaves_the_home_folder_empty(
    backend: str, bundle: Path, scans: dict[str, Path], tmp_path: Path
) -> None:
    environment = lonely_environment(tmp_path)
    words = infer_words(bundle, scans, tmp_path, backend)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "home").iterdir()) == []
    log = tmp_path / "sockets.log"
    events = [ast.literal_eval(line) for line in log.read_text().splitlines()] if log.exists() else []
    families = [arguments[0] for event, arguments in events if event == "socket.__new__"]
    assert [family for family in families if family in (2, 10)] == []  # AF_INET, AF_INET6
    assert [event for event, _ in events if event in ("socket.connect", "socket.getaddrinfo", "socket.bind")] == []


def test_the_watch_sees_a_socket_when_there_is_one(tmp_path: Path) -> None:
    environment = lonely_environment(tmp_path)
    program = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert "socket.__new__" in (tmp_path / "sockets.log").read_text()


def can_trace() -> bool:
    tracer = shutil.which("strace")
    return tracer is not None and subprocess.run([tracer, "-o", os.devnull, "true"], check=False).returncode == 0


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_the_kernel_sees_no_network_socket_either(
    backend: str, bundle: Path, scans: dict[str, Path], tmp_path: Path
) -> None:
    if not can_trace():
        pytest.skip("strace is not here or may not trace")
    log = tmp_path / "trace.log"
    words = ["strace", "-f", "-qq", "-e", "trace=socket,connect,sendto", "-o", str(log)]
    words += infer_words(bundle, scans, tmp_path, backend)
    done = subprocess.run(words, env=lonely_environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in log.read_text().splitlines() if "AF_INET" in line] == []
    assert list((tmp_path / "home").iterdir()) == []


def test_a_plan_is_printed_and_nothing_is_run(cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path) -> None:
    done = cmc("infer", bundle, "--image", f"ct={scans['ct']}", "--plan")
    assert done.code == 0, done.err
    assert "peak of the process" in done.out
    assert "expected:" in done.out
    done = cmc("infer", bundle, "--image", f"ct={scans['ct']}", "--plan", "--json")
    plan = json.loads(done.out)
    assert plan["windows"] == sum(group["windows"] for group in plan["groups"])
    parts = plan["bytes"]
    assert parts["total"] >= parts["session"] + parts["input"] + parts["core"]
    assert plan["seconds"]["total"] > 0
    assert {path.name for path in tmp_path.iterdir()} <= {"ct.nii.gz", "mr.nii.gz"}


@pytest.mark.parametrize(
    ("option", "words", "code"),
    [
        (("--max-mem", "1MB"), "not started", 4),
        (("--deadline", "0.01ms"), "not started", 4),
        (("--max-mem", "lots"), "is no amount of memory", 2),
    ],
)
def test_limits_that_cannot_be_kept_write_nothing(
    cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path, option: tuple[str, str], words: str, code: int
) -> None:
    done = cmc("infer", bundle, "--image", f"ct={scans['ct']}", "-o", tmp_path / "out", *option)
    assert done.code == code
    assert words in done.err
    assert done.err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"ct.nii.gz", "mr.nii.gz"}


def test_within_limits_the_labels_are_the_same(cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path) -> None:
    words = ("infer", bundle, "--image", f"ct={scans['ct']}", "--threads", 1)
    assert cmc(*words, "-o", tmp_path / "free").code == 0
    done = cmc(*words, "-o", tmp_path / "bound", "--max-mem", "64GB", "--deadline", "10min")
    assert done.code == 0, done.err
    name = "labels_ct.nii.gz"
    assert (tmp_path / "free" / name).read_bytes() == (tmp_path / "bound" / name).read_bytes()


def test_json_progress_goes_to_standard_error_line_by_line(
    cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path
) -> None:
    done = cmc("infer", bundle, "--image", f"ct={scans['ct']}", "-o", tmp_path / "out", "--json")
    assert done.code == 0
    assert json.loads(done.out)["output"] == str(tmp_path / "out")
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert [line["done"] for line in lines] == list(range(1, lines[-1]["total"] + 1))
    assert {"stage", "done", "total", "per_second", "seconds_left"} == set(lines[-1])
