"""How many threads a process is given, where the system says to which processors it is bound and where it does not."""

from __future__ import annotations

import os

import pytest

from cmc_sdk.threads import usable_threads


def test_those_that_the_process_is_bound_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 3, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert usable_threads() == 3


@pytest.mark.parametrize(("count", "expected"), [(8, 8), (None, 1)])
def test_all_where_a_process_cannot_be_bound(monkeypatch: pytest.MonkeyPatch, count: int | None, expected: int) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert usable_threads() == expected
