"""`make help` lists every target, and each benchmark's target runs its module."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*words: str) -> str:
    # As a person calls it: the tests may themselves run under make, which tells its children so and has them say more.
    plain = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(["make", *words], cwd=ROOT, env=plain, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.stdout


def targets() -> list[str]:
    """Every target that is no file, as make itself knows them."""
    (line,) = (line for line in make("-pq", "help").splitlines() if line.startswith(".PHONY:"))
    return line.split()[1:]


def test_help_has_a_line_for_every_target_and_is_what_make_says_alone() -> None:
    said = make()
    lines = [line.split(maxsplit=2) for line in said.splitlines()]
    assert sorted(name for _, name, _ in lines) == sorted(targets())
    assert said == make("help")


def test_every_benchmark_has_a_target_that_runs_it() -> None:
    modules = {path.parent.name for path in ROOT.glob("benchmarks/*/__main__.py")} | {"encoder", "parity"}
    names = {f"bench-{name.replace('_', '-')}" for name in modules}
    assert {name for name in targets() if name.startswith("bench-")} == names
    planned = make("-n", "-o", ".venv/.installed", *sorted(names), "RUN=runs/x").splitlines()
    ends = [line.split(" -m ")[-1].strip() for line in planned if "benchmarks." in line]
    assert ends == [
        f"benchmarks.{name.removeprefix('bench-').replace('-', '_')}{' runs/x' if name == 'bench-parity' else ''}"
        for name in sorted(names)
    ]
