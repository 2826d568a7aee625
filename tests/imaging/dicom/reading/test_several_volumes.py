"""Several volumes in one series come apart by name: b-values (standard and private), echoes, phases, times."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cmc_sdk.imaging.dicom.reading.read_series import read_series
from cmc_sdk.imaging.dicom.reading.scan import scan_dicom
from tests.imaging.dicom.series import SeriesSpec, classic, enhanced, make_voxels, save, write_series

MR = SeriesSpec(modality="MR", size_vox=(5, 6, 4))


def csa(b_value):
    """A Siemens CSA header with one element, by its published layout."""
    text = str(b_value).encode().ljust(8, b"\0")
    items = struct.pack("<4i", len(text), len(text), 77, len(text)) + text
    head = b"B_value\0".ljust(64, b"\xcd") + struct.pack("<i4s3i", 1, b"IS\0\0", 6, 1, 77)
    return b"SV10\x04\x03\x02\x01" + struct.pack("<2i", 1, 77) + head + items


def standard(dataset, value):
    dataset.DiffusionBValue = float(value)


def siemens(dataset, value):
    dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", str(value))


def siemens_csa(dataset, value):
    dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa(value))


def general_electric(dataset, value):
    block = dataset.private_block(0x0043, "GEMS_PARM_01", create=True)
    block.add_new(0x39, "IS", [str(1_000_000_000 + value if value else 0), "8", "0", "0"])


def philips(dataset, value):
    dataset.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x03, "FL", float(value))


def in_another_block(dataset, value):
    """The creator reserved block 0x11, not 0x10."""
    dataset.private_block(0x0019, "SOMEBODY ELSE", create=True).add_new(0x0C, "IS", "77")
    siemens(dataset, value)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    "write", [standard, siemens, siemens_csa, general_electric, philips, in_another_block], ids=lambda f: f.__name__
)
def test_b_values_by_every_makers_tag(tmp_path, write, implicit):
    truth = {}
    for number, value in enumerate((800, 0, 50)):
        voxels = make_voxels(replace(MR, seed=number))
        truth[float(value)] = voxels
        for index in range(4):
            dataset = classic(MR, voxels[:, :, index], index=index)
            dataset.SOPInstanceUID += f".{number}"
            write(dataset, value)
            save(dataset, tmp_path / f"{index}{number}.dcm", implicit=implicit)
    scan = scan_dicom(tmp_path)
    assert [volume.name for volume in scan.series] == ["b=0", "b=50", "b=800"]
    for volume in scan.series:
        assert np.array_equal(read_series(volume).stored, truth[volume.b_value])
    assert not scan.refused


def test_a_b_value_in_a_block_that_its_maker_did_not_reserve_does_not_count(tmp_path):
    for index in range(4):
        dataset = classic(MR, make_voxels(MR)[:, :, index], index=index)
        dataset.private_block(0x0019, "SOMEBODY ELSE", create=True).add_new(0x0C, "IS", "77")
        save(dataset, tmp_path / f"{index}.dcm")
    (volume,) = scan_dicom(tmp_path).series
    assert volume.b_value is None


def test_an_adc_map_has_no_b_value(tmp_path):
    spec = replace(MR, extra={"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"], "DiffusionBValue": 800.0})
    write_series(tmp_path / "adc", spec)
    (volume,) = scan_dicom(tmp_path / "adc").series
    assert volume.b_value is None
    assert volume.kinds == ("ADC",)


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ({"EchoNumbers": 1, "EchoTime": "12"}, {"EchoNumbers": 2, "EchoTime": "90"}, ["echo 1", "echo 2"]),
        ({"EchoTime": "12"}, {"EchoTime": "90"}, ["TE=12", "TE=90"]),
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "M"]},
            {"ImageType": ["ORIGINAL", "PRIMARY", "P"]},
            ["kind M", "kind P"],
        ),
        ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}, ["time 1", "time 2"]),
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, ["acquisition 1", "acquisition 2"]),
        ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B60f"}, ["kernel B30f", "kernel B60f"]),
    ],
)
def test_other_volumes_of_one_series(tmp_path, first, second, names):
    for number, values in enumerate((first, second)):
        written = write_series(tmp_path / str(number), replace(MR, extra=values, seed=5))
        for path in written.paths:
            dataset = dcmread(path)
            dataset.SOPInstanceUID += f".{number}"
            dataset.PixelData = (np.frombuffer(dataset.PixelData, np.int16) + number).tobytes()
            dataset.save_as(path)
    assert sorted(volume.name for volume in scan_dicom(tmp_path).series) == names


def test_acquisition_numbers_of_slices_do_not_tear_a_volume_apart(tmp_path):
    written = write_series(tmp_path / "ct", SeriesSpec())
    for number, path in enumerate(written.paths):
        dataset = dcmread(path)
        dataset.AcquisitionNumber, dataset.AcquisitionTime = number, f"0304{number:02d}"
        dataset.save_as(path)
    assert len(scan_dicom(tmp_path / "ct").series) == 1


def test_times_and_b_values_in_one_enhanced_instance(tmp_path):
    spec = replace(MR, multi_frame=True, places=(0, 1, 2, 3) * 2)
    voxels = make_voxels(spec)
    dataset = enhanced(spec, voxels, order=np.arange(8)[::-1])
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        content = Dataset()
        content.TemporalPositionIndex = 1 + (7 - number) // 4
        frame.FrameContentSequence = Sequence([content])
    save(dataset, tmp_path / "times.dcm")
    scan = scan_dicom(tmp_path)
    assert [volume.name for volume in scan.series] == ["time 1", "time 2"]
    for number, volume in enumerate(scan.series):
        read = read_series(volume)
        assert np.array_equal(read.stored, voxels[:, :, 4 * number : 4 * number + 4])
        assert [frame.frame_number for frame in read.header.frames] == list(range(8 - 4 * number, 4 - 4 * number, -1))
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        diffusion = Dataset()
        diffusion.DiffusionDirectionality = "NONE" if number < 4 else "ISOTROPIC"
        if number >= 4:
            diffusion.DiffusionBValue = 1000.0
        frame.MRDiffusionSequence = Sequence([diffusion])
    save(dataset, tmp_path / "times.dcm")
    assert [volume.name for volume in scan_dicom(tmp_path).series] == ["b=0", "b=1000"]
