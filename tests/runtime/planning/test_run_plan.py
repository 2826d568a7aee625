"""The contract: planned before the start, kept or refused."""

from __future__ import annotations

import math
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.errors import DeadlineError, InterruptError, PlanError
from cmc_sdk.runtime.core import Threads
from cmc_sdk.runtime.planning.cost import CoreRates, SessionCost, measure_core
from cmc_sdk.runtime.planning.limits import Limits
from cmc_sdk.runtime.planning.run_plan import RESERVE, SAFETY, choose_plan
from cmc_sdk.runtime.scans.prepared import prepare_scans
from cmc_sdk.runtime.segmenter import Segmenter
from tests.runtime.stubs import StubBackend, blob_scan, make_spec

RATES = CoreRates(window_s=0.01, voxel_s=1e-7)
SCANS = {"ct": blob_scan(np.diag([2.0, 2.0, 2.0, 1.0]), (40, 36, 60))}
PREPARED = prepare_scans(SCANS, spec=make_spec())


def cost(present, batch, streams):
    # A batch of 4 takes three times as long as one window, two streams save a quarter; both take more memory.
    return SessionCost(
        batch,
        streams,
        load_peak_bytes=90_000_000,
        running_bytes=100_000_000 + batch * streams * 10**7,
        batch_s=batch**0.8 * (0.75 if streams == 2 else 1.0),
    )


def plan(*, overlap=0.5, min_overlap=None, best_streams=1, measured=None, **limits):
    spec = make_spec(overlap=overlap)
    spec = spec.model_copy(update={"grid": spec.grid.model_copy(update={"min_overlap": min_overlap})})

    def cost_of(present, batch, streams):
        if measured is not None:
            measured.append((batch, streams))
        return cost(present, batch, streams)

    return choose_plan(
        PREPARED,
        spec=spec,
        pairing="auto",
        limits=Limits(**limits),
        cost_of=cost_of,
        rates=RATES,
        threads=2,
        best_streams=best_streams,
    )


def test_without_need_nothing_is_changed() -> None:
    found = plan()
    assert (found.overlap, found.batch) == (0.5, 1)
    assert found.windows == sum(len(group.starts) for group in found.groups)
    assert found.total_bytes == math.ceil(RESERVE * (found.session_bytes + found.input_bytes + found.core_bytes))
    assert found.input_bytes == SCANS["ct"].stored.nbytes
    assert found.core_bytes > 2 * SCANS["ct"].stored.size
    expected = found.windows * (1.0 + RATES.window_s) + SCANS["ct"].stored.size * RATES.voxel_s
    assert found.seconds == pytest.approx(expected)


def test_short_of_time_it_takes_larger_batches_then_less_overlap() -> None:
    free = plan(min_overlap=0.0)
    hurried = plan(min_overlap=0.0, deadline_s=free.seconds * 0.9)
    assert (hurried.overlap, hurried.batch > 1) == (0.5, True)
    pressed = plan(min_overlap=0.0, deadline_s=free.seconds * 0.3)
    assert pressed.overlap < 0.5
    assert pressed.seconds * SAFETY <= free.seconds * 0.3


def test_streams_are_taken_where_memory_holds() -> None:
    measured: list[tuple[int, int]] = []
    free = plan(best_streams=2, measured=measured)
    assert (free.batch, free.streams, measured) == (1, 2, [(1, 2)])
    single = plan()
    calls = 2 * -(-free.windows // 2)
    assert free.seconds == pytest.approx(single.seconds + 0.75 * calls - free.windows)
    measured.clear()
    # What was once measured counts to the peak of the process: with little memory only the lean way is.
    lean = plan(best_streams=2, measured=measured, max_mem_bytes=single.total_bytes + 5_000_000)
    assert (lean.batch, lean.streams, measured) == (1, 1, [(1, 1)])
    measured.clear()
    wide = plan(best_streams=2, measured=measured, max_mem_bytes=10**9)
    assert (wide.batch, wide.streams, measured) == (1, 2, [(1, 1), (1, 2)])


def test_a_scan_of_one_window_has_one_stream() -> None:
    small = prepare_scans({"ct": blob_scan(np.diag([2.0, 2.0, 2.0, 1.0]), (12, 12, 12))}, spec=make_spec())
    words = {"spec": make_spec(), "pairing": "auto", "cost_of": cost, "rates": RATES, "threads": 2}
    assert choose_plan(small, limits=Limits(), best_streams=2, **words).streams == 1


def test_short_of_time_and_memory_it_keeps_both() -> None:
    free = plan(min_overlap=0.0)
    found = plan(min_overlap=0.0, deadline_s=free.seconds * 0.5, max_mem_bytes=free.total_bytes + 5_000_000)
    assert found.batch == 1
    assert found.total_bytes <= free.total_bytes + 5_000_000


def test_a_refusal_says_the_numbers_and_what_would_fit() -> None:
    free = plan()
    with pytest.raises(PlanError, match=r"where 50 MB are allowed.*--max-mem \d+MB") as refused:
        plan(max_mem_bytes=50_000_000)
    assert refused.value.exit_code == 4
    words = str(refused.value)
    fitting = int(words.split("--max-mem ")[1].split("MB")[0]) * 10**6
    assert plan(max_mem_bytes=fitting).total_bytes <= fitting
    with pytest.raises(PlanError, match="where 1 s are allowed") as refused:
        plan(deadline_s=1.0)
    seconds = float(str(refused.value).split("--deadline ")[1].split("s")[0])
    assert plan(deadline_s=seconds).seconds < seconds
    assert "--min-overlap" in str(refused.value)
    assert free.seconds > 1.0


@settings(max_examples=60, deadline=None)
@given(st.floats(0.5, 400.0), st.integers(10**8, 2 * 10**8), st.sampled_from((None, 0.0, 0.25)))
def test_what_is_planned_keeps_the_limits(deadline: float, memory: int, least: float | None) -> None:
    try:
        found = plan(min_overlap=least, deadline_s=deadline, max_mem_bytes=memory)
    except PlanError:
        return
    assert found.seconds * SAFETY <= deadline
    assert found.total_bytes <= memory
    assert (least if least is not None else 0.5) <= found.overlap <= 0.5


class SlowBackend(StubBackend):
    """A stub that takes its time once it has been measured."""

    delay = 0.0

    def encode(self, modality, window):
        time.sleep(self.delay)
        return super().encode(modality, window)


def segmenter(backend, **limits):
    return Segmenter(make_spec(), backend, limits=Limits(**limits), threads=1)


def test_a_run_that_is_slower_than_planned_ends_at_a_window() -> None:
    backend = SlowBackend()
    session = segmenter(backend, deadline_s=1.0)
    session.plan(SCANS)
    backend.delay = 0.3
    since = time.monotonic()
    with pytest.raises(DeadlineError):
        session.infer(SCANS)
    assert time.monotonic() - since < 1.0 + 2 * 0.3 + 1.0


def test_a_caller_can_cancel_within_a_window() -> None:
    backend, asked = SlowBackend(), []
    done = []

    def cancel() -> bool:
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(InterruptError):
        Segmenter(make_spec(), backend).infer(SCANS, cancel=cancel, progress=lambda *step: done.append(step))
    assert len(done) == 3


def test_a_run_within_its_limits_answers_as_without() -> None:
    free = Segmenter(make_spec(), StubBackend()).infer(SCANS)
    bound = segmenter(StubBackend(), deadline_s=120.0, max_mem_bytes=10**11).infer(SCANS)
    assert np.array_equal(free.labels["ct"].stored, bound.labels["ct"].stored)
    assert "plan" in bound.record.seconds


def test_a_limit_that_cannot_be_kept_runs_nothing() -> None:
    backend = StubBackend()
    session = segmenter(backend, max_mem_bytes=1_000_000)
    with pytest.raises(PlanError):
        session.infer(SCANS)
    assert len(backend.encoded) == 2  # the measurement of one window


def test_the_cores_own_rates_are_measured() -> None:
    rates = measure_core(make_spec(), threads=Threads(1))
    assert 0 < rates.voxel_s < 1e-4
    assert 0 < rates.window_s < 1.0


WATCH = """
import time
import numpy as np
from cmc_sdk.runtime.host.memory import PeakWatch, rss_bytes
before = rss_bytes()
with PeakWatch() as watch:
    block = np.ones(20_000_000, np.float32)
    time.sleep(0.05)
    del block
print(watch.peak_bytes - before if before is not None else 80_000_000)
"""


def test_the_watch_sees_memory_that_is_gone_by_the_end() -> None:
    # In a process of its own: in this one other memory comes and goes.
    done = subprocess.run([sys.executable, "-c", WATCH], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 70_000_000
