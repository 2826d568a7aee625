"""Label maps in whatever type a tool stored them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cmc_sdk import Volume, read_volume
from cmc_sdk.errors import DataError
from cmc_sdk.imaging.labels import as_labels
from tests.imaging.grids import save_nifti


@settings(max_examples=60, deadline=None)
@given(
    truth=arrays(np.uint8, (3, 4, 5)),
    dtype=st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64]),
    error=st.floats(-0.0009, 0.0009),
)
def test_every_type_becomes_the_same_indices(truth, dtype, error):
    stored = truth.astype(dtype) + (dtype(error) if np.dtype(dtype).kind == "f" else 0)
    labels = as_labels(Volume(stored.astype(dtype), np.eye(4)))
    assert labels.stored.dtype == np.uint8
    assert np.array_equal(labels.stored, truth)


def test_a_mask_of_nearly_one(tmp_path):
    mask = np.zeros((3, 3, 3), np.float32)
    mask[1, 1, 1] = 0.99999997 - 6e-8
    labels = read_volume(save_nifti(tmp_path / "m.nii.gz", mask, np.eye(4)), label=True)
    assert labels.stored.sum() == 1


def test_scaled_labels_are_their_true_values(tmp_path):
    stored = np.array([0, 1, 2, 3], np.int16).reshape(2, 2, 1) * 10
    path = save_nifti(tmp_path / "s.nii", stored, np.eye(4), scaling=(0.1, 1.0))
    labels = read_volume(path, label=True)
    assert labels.stored.ravel().tolist() == [1, 2, 3, 4]
    assert (labels.slope, labels.intercept) == (1.0, 0.0)


def test_uint8_is_not_copied():
    volume = Volume(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    assert as_labels(volume) is volume


@pytest.mark.parametrize(
    ("value", "dtype", "rule"),
    [
        (0.5, np.float32, "not integers"),
        (1.002, np.float64, "not integers"),
        (np.nan, np.float32, "not integers"),
        (np.inf, np.float32, "not integers"),
        (256, np.uint16, "outside 0 … 255"),
        (-1, np.int16, "outside 0 … 255"),
        (1000.0, np.float32, "outside 0 … 255"),
    ],
)
def test_what_is_no_class_index_is_refused_with_its_place(value, dtype, rule):
    stored = np.ones((3, 4, 5), dtype)
    stored[2, 1, 3] = value
    with pytest.raises(DataError, match=rule) as caught:
        as_labels(Volume(stored, np.eye(4), name="mask.nii.gz"))
    assert "mask.nii.gz" in str(caught.value)
    assert "1 voxels" in str(caught.value)
    assert "(2, 1, 3)" in str(caught.value)
