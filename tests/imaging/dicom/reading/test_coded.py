"""Compressed pixels: equal to the plain ones, and refused by name where they cannot be decoded."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames

from benchmarks.dicom.mutate import base_files
from cmc_sdk.imaging.dicom.reading.decoding import process as decoder_process
from cmc_sdk.imaging.dicom.reading.decoding.codestream import codestream_size
from cmc_sdk.imaging.dicom.reading.read_series import read_dicom, read_series
from cmc_sdk.imaging.dicom.reading.scan import scan_dicom
from cmc_sdk.imaging.dicom.refusal import DicomError

CODED = ("rle", "jpeg-ls", "jpeg-2000", "jpeg-lossless")


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    return base_files(tmp_path_factory.mktemp("coded"))


@pytest.mark.parametrize("name", CODED)
def test_equal_to_the_plain_file(coded, name):
    plain = read_dicom(coded["explicit"][0].parent)
    volume = read_dicom(coded[name][0].parent)
    assert np.array_equal(volume.stored, plain.stored)
    assert volume.same_grid(plain)


@pytest.mark.slow
def test_a_sound_file_is_read_by_every_new_process(coded):
    """GDCM's JPEG 2000 decoder crashed in one new process of eight or so."""
    for _ in range(6):
        decoder_process._process().close()
        read_dicom(coded["jpeg-2000"][0].parent)


@pytest.mark.parametrize("name", ["rle", "jpeg-2000", "jpeg-lossless", pytest.param("jpeg-ls", marks=pytest.mark.slow)])
def test_damaged_code_is_refused_by_name(coded, tmp_path, name):
    for path in coded[name]:
        dataset = dcmread(path)
        (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
        dataset.PixelData = encapsulate([frame[: len(frame) // 3]])
        dataset.save_as(tmp_path / path.name)
    (series,) = scan_dicom(tmp_path).series
    with pytest.raises(DicomError, match=r"decoder: .* (cannot be decoded|crashed)"):
        read_series(series)


@pytest.mark.parametrize("name", [name for name in CODED if name != "rle"])
def test_a_code_stream_of_another_size_is_refused_before_it_is_decoded(coded, tmp_path, name):
    for path in coded[name]:
        dataset = dcmread(path)
        (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
        assert codestream_size(frame) == (48, 48)
        at = (
            8
            if name == "jpeg-2000"
            else next(i for i in range(len(frame)) if frame[i : i + 2] in (b"\xff\xc3", b"\xff\xf7"))
        )
        huge = struct.pack(">II", 40000, 40000) if name == "jpeg-2000" else struct.pack(">HH", 40000, 40000)
        at += 0 if name == "jpeg-2000" else 5
        dataset.PixelData = encapsulate([frame[:at] + huge + frame[at + len(huge) :]])
        dataset.save_as(tmp_path / path.name)
    (series,) = scan_dicom(tmp_path).series
    with pytest.raises(DicomError, match="coded as 40000×40000 and announced as 48×48"):
        read_series(series)


def test_a_transfer_syntax_without_a_decoder_is_refused(coded, tmp_path):
    for path in coded["jpeg-ls"]:
        dataset = dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG-2
        dataset.save_as(tmp_path / path.name)
    (series,) = scan_dicom(tmp_path).series
    with pytest.raises(DicomError, match=r"decoder: .*MPEG2"):
        read_series(series)


def test_a_file_that_is_deflated_as_a_whole_is_refused(coded, tmp_path):
    for path in coded["explicit"]:
        dataset = dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
        dataset.save_as(tmp_path / path.name)
    (refusal,) = scan_dicom(tmp_path).refused
    assert refusal.name == "decoder"
    assert "deflated as a whole" in refusal.what


def test_sizes_of_code_streams():
    assert codestream_size(b"") is None
    assert codestream_size(b"\xff\xd8\xff\xd9") is None
    assert codestream_size(b"\xff\xd8" + b"\xff\xe0\0\4ab" + b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", 3, 5)) == (3, 5)
