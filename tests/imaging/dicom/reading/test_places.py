"""Where voxels lie: a marker at a known place in the patient is found there after reading."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_sdk.imaging.dicom.reading.read_series import read_dicom
from tests.imaging.dicom.series import make_voxels, series_specs, write_series


def check_marker(spec, voxel, folder):
    voxels = make_voxels(spec)
    highest = 3000
    i, j, k = (min(index, size - 1) for index, size in zip(voxel, spec.size_vox, strict=True))
    voxels[i, j, k] = highest
    written = write_series(folder, spec, voxels=voxels)
    volume = read_dicom(folder)
    lps = spec.position_mm(i, j, k)
    found = np.unravel_index(int(volume.data.argmax()), volume.size_vox)
    where = volume.affine_mm @ (*found, 1.0)
    assert np.abs(where[:3] * (-1, -1, 1) - lps).max() < 0.5 * min(spec.spacing_mm)
    assert np.allclose(volume.affine_mm, spec.affine_mm, atol=1e-6)
    assert np.array_equal(volume.stored, voxels)
    assert np.isclose(volume.data[tuple(found)], highest * spec.slope + spec.intercept)
    frame = volume.header.frames[int(found[2])]
    assert frame.path in written.paths
    assert frame.sop_instance_uid in written.sop_instance_uids


CASES = {"spec": series_specs(), "voxel": st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 6))}
RELAXED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


@settings(max_examples=40, **RELAXED)
@given(**CASES)
def test_a_marker_is_found_where_it_was_put(spec, voxel):
    with tempfile.TemporaryDirectory() as folder:
        check_marker(spec, voxel, Path(folder))


@pytest.mark.slow
@settings(max_examples=500, **RELAXED)
@given(**CASES)
def test_a_marker_is_found_where_it_was_put_500_times(spec, voxel):
    with tempfile.TemporaryDirectory() as folder:
        check_marker(spec, voxel, Path(folder))
