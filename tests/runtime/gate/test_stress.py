"""The stress scans: what they hold, and how far from a body they reach once they are normalised."""

from __future__ import annotations

import numpy as np

from cmc_sdk.runtime.core import intensity_statistics, normalise
from cmc_sdk.runtime.gate.stress import stress_cases
from tests.export.exported import make_spec


def test_every_stress_holds_its_value_in_every_modality() -> None:
    spec = make_spec()
    cases = {case.name.removeprefix("stress "): case for case in stress_cases(spec)}
    assert set(cases) == {"3071", "-1024", "1.7e6", "constant", "bright voxel", "bright voxel in a body"}
    for case in cases.values():
        assert case.kind == "stress"
        assert case.subsets(spec.names) == [("ct", "mr")]  # with all modalities only
        assert set(case.images) == {"ct", "mr"}
    for name, value in (("3071", 3071), ("-1024", -1024), ("1.7e6", 1.7e6)):
        for volume in cases[name].images.values():
            share = np.mean(volume.stored == np.float32(value))
            assert 0.02 < share < 0.1
    for volume in cases["constant"].images.values():
        assert np.ptp(volume.stored) == 0
    for name, value in (("bright voxel", 3071), ("bright voxel in a body", 1.7e6)):
        for volume in cases[name].images.values():
            assert np.count_nonzero(volume.stored == np.float32(value)) == 1


def test_the_bright_voxels_are_the_extremes_of_normalising() -> None:
    spec = make_spec(window=32)
    rule = spec.modality("mr").intensity
    reach = {}
    for case in stress_cases(spec):
        volume = case.images["mr"]
        values = normalise(volume.data.copy(), rule=rule, statistics=intensity_statistics(volume, rule))
        assert np.isfinite(values).all()
        reach[case.name] = float(np.abs(values).max())
    assert reach["stress bright voxel"] == 3071
    assert reach["stress bright voxel in a body"] > 50
    assert reach["stress constant"] == 0


def test_the_same_spec_gives_the_same_voxels() -> None:
    spec = make_spec()
    for first, second in zip(stress_cases(spec), stress_cases(spec), strict=True):
        for name in first.images:
            assert np.array_equal(first.images[name].stored, second.images[name].stored)
