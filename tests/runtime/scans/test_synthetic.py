"""The synthetic scan and the golden files: the same on every machine, inside the rules, and read back as written."""

from __future__ import annotations

import numpy as np
import pytest

from cmc_sdk import Volume
from cmc_sdk.bundle.manifest import Grid, IntensityRule, ModalitySpec, ModelSpec
from cmc_sdk.errors import BundleError
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.runtime.core import constant_value, intensity_statistics, normalise
from cmc_sdk.runtime.gate.golden import decode_volume, encode_volume
from cmc_sdk.runtime.scans.synthetic import synthetic_case, synthetic_size

SPEC = ModelSpec(
    modalities=(
        ModalitySpec(name="ct", dicom_modality="CT", intensity=IntensityRule(clip=(-200, 300), unit="HU")),
        ModalitySpec(name="mr", dicom_modality="MR"),
        ModalitySpec(name="unit", intensity=IntensityRule(clip=(0, 1), scale="unit_range")),
    ),
    reference_modality="mr",
    classes=ClassTable.from_names(["liver"]),
    grid=Grid(spacing_mm=(1.5, 1.5, 2.0), window_vox=(24, 24, 16)),
)


def test_the_seed_decides_everything() -> None:
    first, again, other = (synthetic_case(SPEC, seed=seed) for seed in (4, 4, 5))
    for name in SPEC.names:
        assert np.array_equal(first[name].stored, again[name].stored)
        assert not np.array_equal(first[name].stored, other[name].stored)
        assert first[name].same_grid(first["ct"])


def test_a_body_with_contrast_in_air() -> None:
    for name, volume in synthetic_case(SPEC, seed=0).items():
        rule = SPEC.modality(name).intensity
        statistics = intensity_statistics(volume, rule)
        assert statistics.has_border, name
        assert 0.3 < statistics.foreground_fraction < 0.9
        values = normalise(volume.data.astype(np.float32), rule=rule, statistics=statistics)
        assert constant_value(values) is None
        assert 0.05 < float(values.std()) < 3
    assert synthetic_case(SPEC, seed=0)["ct"].stored.dtype == np.int16
    assert synthetic_case(SPEC, seed=0)["unit"].stored.dtype == np.float32


def test_its_size_is_more_than_one_window_along_z() -> None:
    size, step = synthetic_size(SPEC.grid), synthetic_case(SPEC, seed=0)["ct"].spacing_mm
    assert size[:2] == (24, 24)
    assert size[2] * step[2] > SPEC.grid.window_vox[2] * SPEC.grid.spacing_mm[2]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_golden_volumes_come_back_as_they_were(dtype: type) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    affine = np.array([[-1.5, 0.25, 0, 7], [0, 2, 0, -3], [0, 0, 3, 1], [0, 0, 0, 1]])
    content = encode_volume(Volume(array, affine))
    assert content == encode_volume(Volume(array, affine))
    back = decode_volume(content, name="golden")
    assert back.stored.dtype == dtype
    assert np.array_equal(back.stored, array)
    assert np.array_equal(back.affine_mm, affine)
    with pytest.raises(BundleError, match="golden is not a golden volume"):
        decode_volume(content[: len(content) // 2], name="golden")
