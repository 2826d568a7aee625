"""What a volume says of itself is kept by what is made on its grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cmc_sdk import Volume
from cmc_sdk.imaging.labels import as_labels
from cmc_sdk.imaging.read import read_volume
from tests.imaging.dicom.series import SeriesSpec, write_series

FRAME = "1.2.3.4"


def scan(**given: object) -> Volume:
    return Volume(
        np.arange(24, dtype=np.int16).reshape(2, 3, 4),
        np.diag([1.0, 2.0, 3.0, 1.0]),
        slope=2.0,
        intercept=-5.0,
        name="scan",
        header="as read",
        notes=("a note",),
        frame_of_reference_uid=FRAME,
        interpolated_slices=frozenset({2}),
        **given,
    )


def test_a_file_that_says_nothing_gives_no_frame_and_no_gap() -> None:
    plain = Volume(np.zeros((2, 2, 2)), np.eye(4))
    assert plain.frame_of_reference_uid is None
    assert plain.interpolated_slices == frozenset()


def test_another_array_on_the_grid_keeps_frame_gaps_and_header() -> None:
    labels = scan().with_array(np.ones((2, 3, 4), np.uint8))
    assert (labels.frame_of_reference_uid, labels.interpolated_slices) == (FRAME, {2})
    assert (labels.header, labels.name) == ("as read", "scan")
    assert (labels.slope, labels.intercept, labels.notes) == (1.0, 0.0, ())
    assert scan().with_array(labels.stored, name="labels").name == "labels"
    assert labels.same_grid(scan())


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_label_map_keeps_them_whatever_it_was_stored_as(dtype: type) -> None:
    given = replace(scan(), stored=np.full((2, 3, 4), 3, dtype), slope=1.0, intercept=0.0)
    labels = as_labels(given)
    assert labels.stored.dtype == np.uint8
    assert (labels.frame_of_reference_uid, labels.interpolated_slices, labels.notes) == (FRAME, {2}, ("a note",))


def test_a_series_says_its_frame_and_its_gaps(tmp_path) -> None:
    size, places = (8, 6, 5), (0, 1, 2, 4, 5)
    write_series(tmp_path, SeriesSpec(size_vox=size, places=places), voxels=np.zeros(size, np.int16))
    volume = read_volume(tmp_path, irregular="resample")
    assert volume.interpolated_slices == {3}
    assert volume.frame_of_reference_uid
    assert volume.frame_of_reference_uid == volume.header.frame_of_reference_uid
