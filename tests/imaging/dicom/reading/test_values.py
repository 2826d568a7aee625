"""True values: rescale, real-world values, lookup tables, signed pixels, stored bits, padding, byte order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cmc_sdk.imaging.dicom.reading.read_series import read_dicom
from cmc_sdk.imaging.dicom.reading.scan import scan_dicom
from cmc_sdk.imaging.dicom.refusal import DicomError
from tests.imaging.dicom.series import SeriesSpec, classic, enhanced, make_voxels, save, write_series

MR = SeriesSpec(modality="MR")


def rewrite(written, change):
    for index, path in enumerate(written.paths):
        dataset = dcmread(path)
        change(dataset, index)
        dataset.save_as(path)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("multi_frame", [False, True])
def test_one_rescale_stays_in_slope_and_intercept(tmp_path, signed, multi_frame):
    spec = SeriesSpec(signed=signed, slope=2.5, intercept=-1000.0, multi_frame=multi_frame)
    written = write_series(tmp_path / "ct", spec)
    volume = read_dicom(tmp_path / "ct")
    assert volume.stored.dtype == (np.int16 if signed else np.uint16)
    assert (volume.slope, volume.intercept) == (2.5, -1000.0)
    assert np.array_equal(volume.data, written.voxels * np.float32(2.5) - np.float32(1000))


def test_a_rescale_of_its_own_for_each_slice_gives_true_values(tmp_path):
    written = write_series(tmp_path / "pet", replace(MR, modality="PT"))

    def change(dataset, index):
        dataset.RescaleSlope, dataset.RescaleIntercept = str(1.5 + index), "0"

    rewrite(written, change)
    volume = read_dicom(tmp_path / "pet")
    assert (volume.stored.dtype, volume.slope, volume.intercept) == (np.float32, 1.0, 0.0)
    assert np.allclose(volume.data, written.voxels * (1.5 + np.arange(5)), rtol=1e-6)
    assert any("differ in their rescale" in note for note in volume.notes)


def test_a_rescale_of_its_own_for_each_frame(tmp_path):
    spec = replace(MR, multi_frame=True)
    voxels = make_voxels(spec)
    dataset = enhanced(spec, voxels, order=np.arange(5))
    del dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    for index, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        item = Dataset()
        item.RescaleSlope, item.RescaleIntercept, item.RescaleType = str(1 + index), "3", "US"
        frame.PixelValueTransformationSequence = Sequence([item])
    save(dataset, tmp_path / "mr.dcm")
    assert np.allclose(read_dicom(tmp_path).data, voxels * (1.0 + np.arange(5)) + 3)


def mapping(slope, intercept):
    item = Dataset()
    item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = -1000, 1000
    return Sequence([item])


def test_a_real_world_value_counts_where_there_is_no_rescale(tmp_path):
    written = write_series(tmp_path / "mr", MR)
    rewrite(written, lambda dataset, _: setattr(dataset, "RealWorldValueMappingSequence", mapping(0.5, 7.0)))
    volume = read_dicom(tmp_path / "mr")
    assert (volume.slope, volume.intercept) == (0.5, 7.0)

    def with_rescale(dataset, _):
        dataset.RescaleSlope, dataset.RescaleIntercept = "2", "1"

    rewrite(written, with_rescale)
    volume = read_dicom(tmp_path / "mr")
    assert (volume.slope, volume.intercept) == (2.0, 1.0)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_modality_lookup_table(tmp_path, bits):
    spec = replace(MR, signed=False)
    voxels = np.random.default_rng(0).integers(0, 40, (7, 6, 5)).astype(np.uint16)
    written = write_series(tmp_path / "lut", spec, voxels=voxels)
    table = np.arange(20)[::-1] ** 2 % 251

    def change(dataset, _):
        item = Dataset()
        item.add_new(0x00283002, "US", [20, 10, bits])
        item.ModalityLUTType = "US"
        item.add_new(0x00283006, "OW", table.astype("<u2" if bits == 16 else "u1").tobytes())
        dataset.ModalityLUTSequence = Sequence([item])

    rewrite(written, change)
    truth = table[np.clip(voxels.astype(int) - 10, 0, 19)]  # below the first and above the last value: the end ones
    assert np.array_equal(read_dicom(tmp_path / "lut").data, truth)
    rewrite(written, lambda dataset, _: dataset.ModalityLUTSequence[0].add_new(0x00283006, "OW", b"\0\0"))
    with pytest.raises(DicomError, match="lookup table cannot be right"):
        read_dicom(tmp_path / "lut")


@pytest.mark.parametrize("signed", [False, True])
def test_only_stored_bits_count(tmp_path, signed):
    written = write_series(tmp_path / "bits", SeriesSpec(signed=signed))
    truth = (written.voxels.astype(int) % 2048) - (1024 if signed else 0)

    def change(dataset, index):
        dataset.BitsStored, dataset.HighBit = 12, 11
        raw = truth[:, :, index].T & 0xFFF | 0x5000 * (index == 2)  # an overlay, as of old, in the bits above
        dataset.PixelData = np.ascontiguousarray(raw, dtype="<u2").tobytes()

    rewrite(written, change)
    volume = read_dicom(tmp_path / "bits")
    assert np.array_equal(volume.stored, truth)
    assert any("beyond Bits Stored" in note for note in volume.notes)


@pytest.mark.parametrize("range_limit", [None, -1990])
def test_padding_of_a_ct_becomes_the_lowest_value_of_the_rest(tmp_path, range_limit):
    spec = SeriesSpec()
    voxels = make_voxels(spec)
    voxels[:2] = -2000
    voxels[0, 0, 0] = -2000 if range_limit is None else -1995

    def change(dataset, _):
        dataset.add_new(0x00280120, "SS", -2000)
        if range_limit is not None:
            dataset.add_new(0x00280121, "SS", range_limit)

    rewrite(write_series(tmp_path / "ct", spec, voxels=voxels), change)
    volume = read_dicom(tmp_path / "ct")
    lowest = voxels[2:].min()
    assert np.array_equal(volume.stored[2:], voxels[2:])
    assert (volume.stored[:2] == lowest).all()
    assert any(f"{2 * 6 * 5} padding pixels" in note for note in volume.notes)


def test_padding_of_zero_stays_outside_ct_and_an_all_padded_volume_stays(tmp_path):
    voxels = make_voxels(replace(MR, signed=False)) + np.uint16(5)
    voxels[:2] = 0
    spec = replace(MR, signed=False)
    rewrite(write_series(tmp_path / "mr", spec, voxels=voxels), lambda dataset, _: dataset.add_new(0x00280120, "US", 0))
    assert np.array_equal(read_dicom(tmp_path / "mr").stored, voxels)
    rewrite(
        write_series(tmp_path / "empty", SeriesSpec(), voxels=np.full((7, 6, 5), -2000, np.int16)),
        lambda dataset, _: dataset.add_new(0x00280120, "SS", -2000),
    )
    assert (read_dicom(tmp_path / "empty").stored == -2000).all()


def test_big_endian_and_implicit_files_hold_the_same_values(tmp_path):
    written = write_series(tmp_path / "ct", SeriesSpec())
    for index, path in enumerate(written.paths[:2]):
        dataset = classic(written.spec, written.voxels[:, :, index], index=index)
        dataset.PixelData = np.ascontiguousarray(written.voxels[:, :, index].T, dtype=">i2").tobytes()
        dataset["PixelData"].VR = "OW"
        save(dataset, path, big_endian=True)
    dataset = dcmread(written.paths[2])
    save(Dataset(dataset), written.paths[2], implicit=True)
    assert np.array_equal(read_dicom(tmp_path / "ct").stored, written.voxels)


def test_8_and_32_bit_pixels(tmp_path):
    for bits, dtype in ((8, "u1"), (32, "<i4")):
        folder = tmp_path / str(bits)
        written = write_series(folder, MR)
        values = np.random.default_rng(bits).integers(0, 255, (7, 6, 5)) * (1 if bits == 8 else 100_000)

        def change(dataset, index, values=values, dtype=dtype, bits=bits):
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
            dataset.PixelRepresentation = int(bits == 32)
            dataset.PixelData = np.ascontiguousarray(values[:, :, index].T, dtype=dtype).tobytes()

        rewrite(written, change)
        volume = read_dicom(folder)
        assert volume.stored.dtype == np.dtype(dtype)
        assert np.array_equal(volume.stored, values)


def test_files_of_different_pixel_types_do_not_mix(tmp_path):
    written = write_series(tmp_path / "ct", SeriesSpec(size_vox=(4, 4, 6)))
    for path in written.paths[3:]:
        dataset = dcmread(path)
        dataset.PixelRepresentation = 0
        dataset.save_as(path)
    assert [volume.size_vox[2] for volume in scan_dicom(tmp_path / "ct").series] == [3, 3]
