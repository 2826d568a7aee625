"""What a caller may allow, and how a run is ended."""

from __future__ import annotations

import pytest

from cmc_sdk.errors import DeadlineError, InputError, InterruptError
from cmc_sdk.runtime.planning.limits import Limits, RunClock, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("4GB", 4 * 10**9), ("512 MiB", 512 * 2**20), ("1.5gb", 1_500_000_000), (1000, 1000), ("64kB", 64_000), ("7", 7)],
)
def test_memory_in_words(amount: str | int, expected: int) -> None:
    assert parse_bytes(amount) == expected


@pytest.mark.parametrize(
    ("amount", "expected"), [("30s", 30.0), ("2 min", 120.0), ("250ms", 0.25), (1.5, 1.5), ("1h", 3600.0), ("9", 9.0)]
)
def test_time_in_words(amount: str | float, expected: float) -> None:
    assert parse_seconds(amount) == expected


@pytest.mark.parametrize("amount", ["", "0", "-1GB", "4 TB", "GB", "1e3GB", "nan", "inf", "4GB4", None])
def test_what_is_no_amount_is_named(amount: str) -> None:
    with pytest.raises(InputError, match="is no amount of memory"):
        parse_bytes(amount)


def test_a_clock_ends_a_run_at_its_deadline_and_at_its_callers_word() -> None:
    RunClock(Limits()).check()
    RunClock(Limits(deadline_s=60.0), cancel=lambda: False).check()
    with pytest.raises(DeadlineError, match="deadline of 2 s passed"):
        RunClock(Limits(deadline_s=2.0), started=-1e9).check()
    with pytest.raises(InterruptError, match="cancelled"):
        RunClock(Limits(), cancel=lambda: True).check()
    assert (DeadlineError.exit_code, InterruptError.exit_code) == (3, 130)
