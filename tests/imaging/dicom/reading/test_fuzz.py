"""Damaged files in child processes; `python -m benchmarks.dicom.fuzz` does five thousand."""

from __future__ import annotations

import random

import pytest

from benchmarks.dicom.fuzz import run
from benchmarks.dicom.mutate import KINDS, base_files, mutate
from cmc_sdk.imaging.dicom.reading.dicom_limits import DicomLimits
from cmc_sdk.imaging.dicom.reading.scan import scan_dicom


@pytest.mark.parametrize(("count", "seed"), [(20, 1), pytest.param(250, 2, marks=pytest.mark.slow)])
def test_no_hang_no_crash_bounded_memory_one_line(count, seed):
    figures = run(count=count, seed=seed)
    assert figures.faults == []
    assert sum(figures.outcomes.values()) == count
    assert set(figures.outcomes) == {"read", "refused"}


def test_every_kind_of_damage_damages(tmp_path):
    data = base_files(tmp_path)["explicit"][0].read_bytes()
    for kind in KINDS:
        assert mutate(data, kind=kind, generator=random.Random(5)) != data


@pytest.mark.parametrize("length", ["defined", "undefined"])
def test_a_flood_of_empty_items_ends_in_bounded_time(tmp_path, length):
    data = base_files(tmp_path)["explicit"][0].read_bytes()
    item = b"\xfe\xff\x00\xe0\0\0\0\0" * 400_000
    size = len(item).to_bytes(4, "little") if length == "defined" else b"\xff\xff\xff\xff"
    at = data.find(b"\x28\0\x02\0US")
    flood = data[:at] + b"\x28\0\x01\0SQ\0\0" + size + item + data[at:]
    (tmp_path / "flood").mkdir()
    (tmp_path / "flood" / "a.dcm").write_bytes(flood)
    scan = scan_dicom(tmp_path / "flood", limits=DicomLimits())
    (refusal,) = scan.refused
    assert refusal.name in {"damaged", "too few slices"}
