"""The decoding process: what it gives, and that nothing it does reaches this one."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from benchmarks.dicom.mutate import base_files
from cmc_sdk.imaging.dicom.reading.decoding import process as decoder_process
from cmc_sdk.imaging.dicom.reading.decoding.decode import Encapsulated, decode
from cmc_sdk.imaging.dicom.reading.decoding.process import decoded_planes
from cmc_sdk.imaging.dicom.reading.scan import scan_dicom
from cmc_sdk.imaging.dicom.refusal import DicomError


@pytest.fixture
def pixels(tmp_path):
    (series,) = scan_dicom(base_files(tmp_path)["rle"][0].parent).series
    instance = series.stack.frames[0].instance
    layout = instance.layout
    return Encapsulated(
        path=str(instance.path),
        offset=layout.offset,
        file_bytes=instance.file_bytes,
        transfer_syntax=layout.transfer_syntax,
        rows=48,
        columns=48,
        number_of_frames=1,
        bits_allocated=16,
        bits_stored=16,
        pixel_representation=1,
        indices=(0,),
    )


def test_the_same_as_in_this_process_and_one_child_for_all(pixels, monkeypatch):
    (here,) = decode(pixels)
    (first,) = decoded_planes(pixels)
    child = decoder_process._SHARED[0]
    (second,) = decoded_planes(pixels)
    assert np.array_equal(here, first)
    assert np.array_equal(here, second)
    assert decoder_process._SHARED[0] is child
    monkeypatch.setattr("sys.frozen", True, raising=False)
    child.close()
    (third,) = decoded_planes(pixels)
    assert np.array_equal(here, third)
    assert not child.alive  # no process where none can be started


@pytest.mark.parametrize("death", ["crash", "spin", "memory", "panic"])
def test_a_decoder_that_dies_is_a_refusal_and_the_next_one_works(pixels, monkeypatch, death):
    acts = {
        "crash": "import os; os.abort()",
        "spin": "\n    while True: pass",
        "memory": "held = bytearray(2_000_000_000)",
        "panic": "raise type('PanicException', (BaseException,), {})('index out of bounds')",
    }
    act = (
        f"from cmc_sdk.imaging.dicom.reading.decoding import child as c, decode as d\n"
        f"def bad(*a, **k):\n    {acts[death].strip()}\n    yield\n"
        f"d._decode = bad\nc._CPU_S = 0.2\n"
    )
    bad = decoder_process._START.replace("main()", "exec(" + repr(act) + "); main()")
    monkeypatch.setattr(decoder_process, "_START", bad)
    monkeypatch.setattr(decoder_process, "_SHARED", [])
    since = time.monotonic()
    with pytest.raises(DicomError, match=r"^decoder: .*(crashed|too much memory|index out of bounds)"):
        list(decoded_planes(pixels))
    assert time.monotonic() - since < 30
    for child in decoder_process._SHARED:
        child.close()
    monkeypatch.undo()
    (plane,) = decoded_planes(pixels)
    assert plane.shape == (48, 48)


def test_a_reader_that_stops_early_and_a_fork_leave_no_mix(pixels):
    planes = decoded_planes(pixels)
    next(planes)
    planes.close()
    (plane,) = decoded_planes(pixels)
    assert np.array_equal(plane, next(decode(pixels)))
    child = decoder_process._SHARED[0]
    child.owner = os.getpid() + 1  # as a forked process sees its parent's
    (plane,) = decoded_planes(pixels)
    assert decoder_process._SHARED[0] is not child
    child.owner = os.getpid()
    child.close()
