"""A scan is made ready once: what is kept with it, what is refused, and how often its voxels are gone through."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from cmc_sdk import Volume
from cmc_sdk.errors import DataError, InputError, PlanError
from cmc_sdk.imaging.read import read_volume
from cmc_sdk.runtime.core import intensity, intensity_statistics
from cmc_sdk.runtime.gate.case import ParityCase
from cmc_sdk.runtime.gate.undecided import undecided_voxels
from cmc_sdk.runtime.planning.limits import Limits
from cmc_sdk.runtime.scans.prepared import ScanFrame, prepare_scan, prepare_scans, refuse_not_finite
from cmc_sdk.runtime.segmenter import Segmenter
from tests.imaging.dicom.series import SeriesSpec, write_series
from tests.runtime.stubs import StubBackend, blob_scan, make_spec

# Sizes by which the passes are told apart; the core's own measurement goes through a volume of (32, 32, 16).
SIZES = {"ct": (40, 36, 60), "mr": (33, 30, 20)}
SCANS = {
    "mr": blob_scan(np.diag([2.2, 1.7, 2.5, 1.0]), SIZES["mr"], seed=2, air=0.0),
    "ct": blob_scan(np.diag([2.0, 2.0, 2.0, 1.0]), SIZES["ct"]),
}
ONCE = {SIZES["ct"]: 1, SIZES["mr"]: 1}


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, ...]]:
    """How often the core went through a volume for its statistics, by the volume's size."""
    found: Counter[tuple[int, ...]] = Counter()
    native = intensity._native.statistics

    def counted(stored, *given):
        if stored.shape in SIZES.values():
            found[stored.shape] += 1
        return native(stored, *given)

    monkeypatch.setattr(intensity._native, "statistics", counted)
    return found


def limited(**limits) -> Segmenter:
    spec = make_spec()
    spec = spec.model_copy(update={"grid": spec.grid.model_copy(update={"min_overlap": 0.0})})
    return Segmenter(spec, StubBackend(), threads=1, limits=Limits(**limits))


def test_what_is_kept_with_a_scan() -> None:
    spec = make_spec()
    scans = prepare_scans(SCANS, spec=spec)
    assert list(scans) == ["ct", "mr"]  # the network's order
    for name, scan in scans.items():
        assert scan.volume is SCANS[name]
        assert scan.rule == spec.modality(name).intensity
        assert scan.statistics == intensity_statistics(SCANS[name], scan.rule)
        assert scan.frame == ScanFrame(nameable=False, uid=None)


def test_a_dicom_scan_names_its_frame(tmp_path) -> None:
    write_series(tmp_path, SeriesSpec())
    volume = read_volume(tmp_path)
    scan = prepare_scan(volume, rule=make_spec().modality("ct").intensity)
    assert scan.frame == ScanFrame(nameable=True, uid=volume.frame_of_reference_uid)
    assert scan.frame.uid
    nameless = prepare_scan(replace(volume, frame_of_reference_uid=None), rule=scan.rule)
    assert nameless.frame == ScanFrame(nameable=True, uid=None)


def test_a_scan_that_is_ready_stays_as_it_is(passes) -> None:
    spec = make_spec()
    scans = prepare_scans(SCANS, spec=spec)
    again = prepare_scans({**scans, "ct": SCANS["ct"]}, spec=spec)
    assert again["mr"] is scans["mr"]
    assert passes == {SIZES["ct"]: 2, SIZES["mr"]: 1}


def test_a_scan_that_was_made_ready_by_another_rule_is_refused() -> None:
    spec = make_spec()
    wrong = prepare_scan(SCANS["ct"], rule=spec.modality("mr").intensity)
    with pytest.raises(InputError, match=r"ct \(scan\) was made ready by another intensity rule.*give its volume"):
        prepare_scans({"ct": wrong}, spec=spec)
    with pytest.raises(InputError, match="another intensity rule"):
        Segmenter(spec, StubBackend()).infer({"ct": wrong})


def test_voxels_that_are_not_finite_are_counted() -> None:
    spec = make_spec()
    array = SCANS["mr"].stored.astype(np.float32)
    array[3, 4, 5], array[6, 7, 8] = np.nan, np.inf
    scans = prepare_scans({**SCANS, "mr": Volume(array, SCANS["mr"].affine_mm, name="a.nii")}, spec=spec)
    with pytest.raises(DataError, match=r"mr \(a.nii\) has 2 voxels that are NaN or infinite"):
        refuse_not_finite(scans)
    del scans["mr"]
    refuse_not_finite(scans)


@pytest.mark.parametrize("pairing", ["registered", "separate"])
@pytest.mark.parametrize(
    "limits", [{}, {"max_mem_bytes": 10**12}, {"deadline_s": 600.0}, {"max_mem_bytes": 10**12, "deadline_s": 600.0}]
)
def test_a_run_goes_once_through_each_scan_for_statistics(passes, limits, pairing) -> None:
    record = limited(**limits).infer(SCANS, pairing=pairing).record
    assert passes == ONCE
    assert {"read", "statistics"} <= set(record.seconds)
    assert ("plan" in record.seconds) == bool(limits)


@pytest.mark.parametrize("limits", [{}, {"max_mem_bytes": 10**12, "deadline_s": 600.0}])
def test_a_plan_goes_once_through_each_scan(passes, limits) -> None:
    limited(**limits).plan(SCANS)
    assert passes == ONCE


def test_a_plan_that_tries_every_overlap_goes_once_through_each_scan(passes) -> None:
    with pytest.raises(PlanError):
        limited(max_mem_bytes=1).plan(SCANS)
    assert passes == ONCE


def test_scans_that_are_ready_are_run_and_planned_as_they_are(passes) -> None:
    spec = make_spec()
    scans = prepare_scans(SCANS, spec=spec)
    passes.clear()
    segmenter = Segmenter(spec, StubBackend(), threads=1)
    ready, given = segmenter.infer(scans), segmenter.infer(SCANS)
    assert passes == ONCE  # of those that were given as volumes
    segmenter.plan(scans)
    assert passes == ONCE
    for name in SCANS:
        assert np.array_equal(ready.labels[name].stored, given.labels[name].stored)
        assert np.array_equal(ready.confidence[name].stored, given.confidence[name].stored)
    assert ready.record.inputs == given.record.inputs
    assert ready.record.plan == given.record.plan


def test_the_gate_makes_the_scans_of_a_case_ready_once(passes) -> None:
    spec = make_spec()
    case = ParityCase("one", SCANS, "separate")
    both = case.scans(("ct", "mr"), spec=spec)
    alone = case.scans(("mr",), spec=spec)
    assert list(alone) == ["mr"]
    assert alone["mr"] is both["mr"]
    undecided_voxels(both, spec=spec, reference=StubBackend(), margin=0.1, pairing=case.pairing)
    assert passes == ONCE
    passes.clear()
    undecided_voxels(SCANS, spec=spec, reference=StubBackend(), margin=0.1, pairing=case.pairing)
    assert passes == ONCE
