"""Tests that are left out are named, and fail CI where nobody has looked at the reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import REVIEWED, is_reviewed

ROOT = Path(__file__).parents[1]
KNOWN = next(iter(REVIEWED))


def run_pytest(folder: Path, *words: str, ci: str = "", **modules: str) -> tuple[int, str]:
    """Exit code and output of a pytest of its own, with the plugin alone, on modules of the given text."""
    for name, text in modules.items():
        (folder / f"test_{name}.py").write_text(f"import pytest\n{text}\n")
    words = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.skips", *words, str(folder))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(ROOT), "CI": ci}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def skipping(reason: str) -> str:
    return f"def test_a(): pytest.skip({reason!r})\ndef test_b(): pass"


def test_a_plain_run_names_the_reasons_and_passes(tmp_path: Path) -> None:
    code, said = run_pytest(tmp_path, a=skipping("no such program"), b=skipping("no such program"))
    assert code == 0, said
    assert "   2 no such program\n" in said


@pytest.mark.parametrize("words", [("--reviewed-skips",), ("--reviewed-skips", "-n", "2")])
def test_a_reason_that_nobody_looked_at_fails(words: tuple[str, ...], tmp_path: Path) -> None:
    code, said = run_pytest(tmp_path, *words, a=skipping("no such program"), b=skipping(KNOWN))
    assert code == 1, said
    assert "1 no such program <- NOT REVIEWED" in said
    assert f"1 {KNOWN}\n" in said


@pytest.mark.parametrize("words", [(), ("-n", "2")])
def test_a_module_that_is_left_out_whole_fails_in_ci(words: tuple[str, ...], tmp_path: Path) -> None:
    code, said = run_pytest(tmp_path, *words, ci="true", a="pytest.importorskip('no_such_module')")
    assert code == 1, said
    assert "NOT REVIEWED" in said


def test_reviewed_reasons_pass_in_ci(tmp_path: Path) -> None:
    code, said = run_pytest(tmp_path, ci="true", a=skipping(KNOWN))
    assert code == 0, said
    assert "NOT REVIEWED" not in said


def test_a_failure_stays_one(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, ci="true", a=f"{skipping(KNOWN)}\ndef test_c(): assert False")[0] == 1


def test_data_may_be_absent_but_not_overlooked(tmp_path: Path) -> None:
    reason = "no test data at /somewhere (set CMC_TEST_DATA)"
    assert is_reviewed(reason, beside=tmp_path / "absent")
    assert not is_reviewed(reason, beside=tmp_path)
