"""A full disk and Ctrl-C: one line, exit code 1 or 130, and nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmc_sdk import write_volume
from tests.cli.command import Outcome, make_scan, run_process

# Each program makes `cmc infer` stand still at one place and say so, so that the signal always comes in the middle.
STANDSTILL = """
import sys, time
def stand_still(*words, **options):
    print("STANDING", flush=True)
    for _ in range(600):  # short sleeps: a signal just before a long one would wait for its end
        time.sleep(0.1)
"""
PLACES = {
    "while the network runs": "from cmc_sdk.runtime.backends.graphs import GraphBackend as G\nG.encode = stand_still",
    "between two files": (
        "import cmc_sdk.runtime.output.files as r\nwrite = r.write_volume\n"
        "r.write_volume = lambda volume, path: stand_still() if 'confidence' in str(path) else write(volume, path)"
    ),
    "in the middle of a file": (
        "import cmc_sdk.imaging.nifti as n\n"
        "def write(path, **rest):\n    path.write_bytes(b'half')\n    stand_still()\n"
        "n.write_bytes = write"
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_ctrl_c(place: str, bundle: Path, scans: dict[str, Path], tmp_path: Path) -> None:
    program = f"{STANDSTILL}\n{PLACES[place]}\nfrom cmc_sdk.cli.main import main"
    words = ["infer", str(bundle), "--image", f"ct={scans['ct']}", "-o", str(tmp_path / "out")]
    before = sorted(tmp_path.rglob("*"))
    process = run_process(words, program=program)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "STANDING", process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert "Ctrl-C" in Outcome(process.returncode, out, err).error
    assert process.returncode == 130
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_that_grows_past_what_is_allowed(bundle: Path, tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes a write fail as a full disk does, for any user."""
    pytest.importorskip("resource")
    path = tmp_path / "ct.nii"
    write_volume(make_scan(seed=0, size=(40, 40, 40)), path)
    limit = (
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))\nfrom cmc_sdk.cli.main import main"
    )
    out = tmp_path / "out"
    process = run_process(["infer", str(bundle), "--image", f"ct={path}", "-o", str(out), "--report"], program=limit)
    _, err = process.communicate(timeout=60)
    line = Outcome(process.returncode, "", err).error
    assert "could not be written" in line
    assert "free space" in line
    assert process.returncode == 1
    assert [item.name for item in tmp_path.iterdir()] == ["ct.nii"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_full(small_disk: Path, bundle: Path, scans: dict[str, Path]) -> None:
    (small_disk / "filler").write_bytes(os.urandom(58_000))
    words = ["infer", str(bundle), "--image", f"ct={scans['ct']}", "-o", str(small_disk / "out"), "--report"]
    process = run_process(words)
    _, err = process.communicate(timeout=60)
    line = Outcome(process.returncode, "", err).error
    assert "No space left on device" in line
    assert process.returncode == 1
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_pipe_that_closes_early_is_no_traceback(bundle: Path) -> None:
    words = f"'{sys.executable}' -m cmc_sdk.cli info '{bundle}' --development --json | head -c 1"
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.stdout == "{"
