"""Which tests may be left out: every run ends with the reasons; CI fails on one that is not on the list here.

A plugin of pytest: `tests/conftest.py` takes its hooks. A plain run on a machine that lacks a program passes.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[2] / "shared" / "data"
"""Where test data lies if `CMC_TEST_DATA` does not say otherwise: beside the checkout."""

NO_DATA = "no test data"
"""How the reason begins of every test that is left out for want of data. In CI it may be if `BESIDE` is not there."""

REVIEWED = {
    "no NVIDIA device": "machines of CI have none; docs/hardware.md says what has run on which hardware",
    "this processor has no bf16": "the test is about arithmetic that the processor must have",
    "needs a user whose permissions are checked": "CI runs as root, whom no permission of a file stops",
}
"""Reason of a skip → why CI may leave such a test out."""


def is_reviewed(reason: str, *, beside: Path = BESIDE) -> bool:
    """Whether CI may leave out a test for this reason."""
    return not beside.exists() if reason.startswith(NO_DATA) else reason in REVIEWED


def reasons(config: pytest.Config) -> Counter[str]:
    """How many tests, or whole modules, this run has left out, by reason."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    found: Counter[str] = Counter()
    for report in reporter.stats.get("skipped", ()) if reporter else ():
        said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        found[said.removeprefix("Skipped: ")] += 1
    return found


def is_strict(config: pytest.Config) -> bool:
    return bool(config.getoption("--reviewed-skips"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reviewed-skips",
        action="store_true",
        default=os.environ.get("CI") == "true",
        help="fail if a test is skipped for a reason that tests/skips.py does not list; the default where CI=true",
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput") or not is_strict(session.config):
        return  # of several processes, the first knows what all of them left out
    unreviewed = [reason for reason in reasons(session.config) if not is_reviewed(reason)]
    if unreviewed and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = reasons(config)
    if not found:
        return
    terminalreporter.section("left out")
    for reason, count in sorted(found.items()):
        fault = is_strict(config) and not is_reviewed(reason)
        terminalreporter.line(f"{count:4} {reason}{' <- NOT REVIEWED, see tests/skips.py' if fault else ''}", red=fault)
