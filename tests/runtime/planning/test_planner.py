"""One way to a plan, with limits or without: what is measured, what is remembered, and what is left as it was asked."""

from __future__ import annotations

import numpy as np
import pytest

from cmc_sdk.errors import PlanError
from cmc_sdk.runtime.labelling.window_plan import WindowPlan
from cmc_sdk.runtime.planning.limits import Limits
from cmc_sdk.runtime.planning.planner import Planner, count_windows, plan_windows
from cmc_sdk.runtime.planning.run_plan import RunPlan
from cmc_sdk.runtime.scans.prepared import prepare_scans
from tests.runtime.labelling.test_queue import StreamingStub
from tests.runtime.stubs import StubBackend, blob_scan, make_spec

SPEC = make_spec()
GRID = np.diag([2.0, 2.0, 2.0, 1.0])
SCANS = prepare_scans(
    {"ct": blob_scan(GRID, (40, 36, 60)), "mr": blob_scan(GRID, (40, 36, 60), seed=2, air=0.0)}, spec=SPEC
)
SMALL = prepare_scans({"ct": blob_scan(GRID, (12, 12, 12))}, spec=SPEC)


def planner(backend, **limits) -> Planner:
    return Planner(backend, spec=SPEC, limits=Limits(**limits), threads=1)


def windows(plan: WindowPlan) -> list[tuple[object, ...]]:
    groups = [(item.modalities, item.grid.size_vox, item.starts, item.core_bytes) for item in plan.groups]
    return [*groups, plan.warnings]


def test_without_limits_nothing_is_measured_and_nothing_is_decided() -> None:
    backend = StreamingStub()
    plan = planner(backend).plan(SCANS, pairing="auto", batch=3, spent_s=0.0)
    assert type(plan) is WindowPlan
    assert (plan.batch, plan.streams, backend.ready, backend.encoded) == (3, 2, [2], [])
    alone = plan_windows(SCANS, spec=SPEC, pairing="auto", batch=3, best_streams=2)
    assert (alone.batch, alone.streams, windows(alone)) == (3, 2, windows(plan))


def test_a_scan_of_one_window_has_one_stream() -> None:
    backend = StreamingStub()
    plan = planner(backend).plan(SMALL, pairing="auto", batch=1, spent_s=0.0)
    assert (plan.windows, plan.streams, backend.ready) == (1, 1, [1])


def test_with_limits_a_plan_is_a_promise_and_costs_are_measured_once() -> None:
    backend = StubBackend()
    bound = planner(backend, max_mem_bytes=10**12)
    first = bound.plan(SCANS, pairing="registered", batch=3, spent_s=0.0)
    assert isinstance(first, RunPlan)
    assert (first.batch, first.streams, first.overlap) == (1, 1, SPEC.grid.overlap)  # the batch is the plan's own
    measured = len(backend.encoded)
    assert measured == 2 * 2  # twice one window of two modalities
    assert bound.promise(SCANS, pairing="registered", spent_s=0.0).to_dict() == first.to_dict()
    assert len(backend.encoded) == measured
    assert windows(first) == windows(plan_windows(SCANS, spec=SPEC, pairing="registered"))


def test_what_was_spent_is_gone_from_the_deadline() -> None:
    bound = planner(StubBackend(), deadline_s=600.0)
    assert bound.plan(SMALL, pairing="auto", batch=1, spent_s=1.0).windows == 1
    with pytest.raises(PlanError, match="are allowed"):
        bound.plan(SMALL, pairing="auto", batch=1, spent_s=600.0)


@pytest.mark.parametrize("scans", [SCANS, SMALL])
def test_windows_are_counted_as_they_are_planned(scans) -> None:
    alone = {"ct": scans["ct"]}
    plan = plan_windows(alone, spec=SPEC, pairing="auto")
    assert count_windows(scans["ct"].volume, spec=SPEC) == plan.windows == sum(len(item.starts) for item in plan.groups)
