"""What a group may be called after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cmc_sdk.imaging.dicom.reading import grouping
from cmc_sdk.imaging.dicom.reading.frames import Discriminators, Frame
from cmc_sdk.imaging.dicom.reading.grouping import group_series
from cmc_sdk.imaging.dicom.reading.scan import scan_dicom
from tests.imaging.dicom.series import SeriesSpec, write_series


def frames_of_one_series(folder: Path) -> tuple[Frame, ...]:
    write_series(folder, SeriesSpec(modality="MR"))
    (volume,) = scan_dicom(folder).series
    return volume.stack.frames


@pytest.mark.parametrize("name", Discriminators._fields)
def test_each_discriminator_tells_two_volumes_apart_and_names_them(name: str, tmp_path: Path):
    frames = frames_of_one_series(tmp_path)
    twice = [
        replace(frame, discriminators=Discriminators(**{name: value})) for value in ("11", "12") for frame in frames
    ]
    groups = group_series(twice)
    trait = name.replace("_", " ")
    values = ("1", "2") if trait in grouping._NUMBERED else ("11", "12")
    assert [group.name for group in groups] == [f"{trait} {value}" for value in values]
    assert [len(group.frames) for group in groups] == [len(frames), len(frames)]


def test_what_is_numbered_is_something_that_groups_are_called_after():
    traits = {trait for trait, _ in grouping._TRAITS} | {name.replace("_", " ") for name in Discriminators._fields}
    assert traits >= grouping._NUMBERED


def test_the_first_discriminator_that_separates_has_the_say(tmp_path: Path):
    frames = frames_of_one_series(tmp_path)
    twice = [
        replace(frame, discriminators=Discriminators(sequence=value, flip_angle=f"{angle}"))
        for value, angle in (("one", 10), ("two", 20))
        for frame in frames
    ]
    assert [group.name for group in group_series(twice)] == ["sequence one", "sequence two"]
