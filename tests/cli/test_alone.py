"""Commands in a network namespace without routes, under strace, with an empty home and no CI in the environment.

OpenVINO and nncf report to their makers when they are imported, unless CI is set: no other test would see it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.study import make_study, training_config
from tests.cli.test_infer import can_trace, lonely_environment
from tests.export.exported import Exported

pytestmark = pytest.mark.slow


def namespace() -> list[str]:
    """The words that put a command into a network namespace of its own."""
    tool = shutil.which("unshare")
    if tool is None or subprocess.run([tool, "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces are not allowed here")
    if not can_trace():
        pytest.skip("strace is not here or may not trace")
    return [tool, "-rn"]


def run_alone(tmp_path: Path, *words: str | Path, program: str = "-m cmc_sdk.cli") -> subprocess.CompletedProcess[str]:
    """Run `cmc words` alone; fails the test if it asks for the network or writes to the home folder."""
    log = tmp_path / "trace.log"
    # Only the traced calls stop the process: libraries that compute make very many others.
    trace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=execve,socket,connect,sendto", "-o", str(log)]
    command = [*namespace(), *trace, sys.executable, *program.split(" ", 1), *map(str, words)]
    environment = lonely_environment(tmp_path)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = log.read_text().splitlines()
    assert any("execve" in line for line in lines), "nothing was traced"
    assert [line for line in lines if "AF_INET" in line] == []
    assert list((tmp_path / "home").iterdir()) == []
    return done


def test_the_trace_sees_a_socket_when_there_is_one(tmp_path: Path) -> None:
    program = "-c import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()"
    with pytest.raises(AssertionError, match="AF_INET"):
        run_alone(tmp_path, program=program)


def test_what_openvino_does_by_itself_is_seen(tmp_path: Path) -> None:
    # On the path: in this process another test may have put a stand-in into the package's place.
    if importlib.machinery.PathFinder.find_spec("openvino_telemetry") is None:
        pytest.skip("openvino_telemetry is not installed: nothing reports home")
    with pytest.raises(AssertionError):
        run_alone(tmp_path, program="-c import openvino")


def test_infer(bundle: Path, scans: dict[str, Path], tmp_path: Path) -> None:
    words = ["--image", f"ct={scans['ct']}", "--image", f"mr={scans['mr']}", "-o", tmp_path / "out", "--report"]
    done = run_alone(tmp_path, "infer", bundle, "--development", *words)
    assert done.returncode == 0, done.stderr


def test_verify(exported: Exported, tmp_path: Path) -> None:
    done = run_alone(tmp_path, "verify", exported.bundle, "--development")
    assert done.returncode == 0, done.stderr + done.stdout


def test_bench(exported: Exported, tmp_path: Path) -> None:
    words = ["--development", "--runs", "1", "--html", tmp_path / "page.html"]
    done = run_alone(tmp_path, "bench", exported.bundle, *words)
    assert done.returncode == 0, done.stderr
    assert "openvino f32" in done.stdout
    assert (tmp_path / "page.html").is_file()


def test_export_of_int8(tmp_path: Path) -> None:
    for needed in ("nncf", "lightning_fabric"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    config = training_config(tmp_path, make_study(tmp_path / "study"))
    # Steps enough that labels on a scan of one value do not hang on a rounding.
    train = [sys.executable, "-m", "cmc_sdk.cli", "train", str(config), "--set", "stages.fused=60"]
    subprocess.run(train, capture_output=True, check=True)
    (run,) = (path.parent for path in tmp_path.rglob("spec.json"))
    done = run_alone(tmp_path, "export", run, "-o", tmp_path / "out.cmc", "--int8")
    # What the gate thinks of a network of few steps is not asked here; that nncf has done its work is.
    assert done.returncode == 0 or "int8 changes the labels too much" in done.stderr, done.stderr
    assert done.returncode == 1 or list((tmp_path / "out.cmc" / "graphs" / "int8-openvino").glob("*.xml"))
