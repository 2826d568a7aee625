"""Damaged DICOM: whole files first, then one fault each, of the kinds that parsers and decoders fall over."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid

__all__ = ["KINDS", "base_files", "mutate"]

SIZE = 48
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
_SEQUENCE = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)


def base_files(folder: Path) -> dict[str, list[Path]]:
    """Small series that read well, by how they are coded: four slices each, or one Enhanced instance."""
    from tests.imaging.dicom.series import SeriesSpec, save, write_series

    made: dict[str, list[Path]] = {}
    spec = SeriesSpec(size_vox=(SIZE, SIZE, 4), modality="CT")
    smooth = np.add.outer(np.add.outer(np.arange(SIZE), np.arange(SIZE)), np.arange(4)).astype(np.int16)
    made["explicit"] = list(write_series(folder / "explicit", spec, voxels=smooth).paths)
    made["enhanced"] = list(
        write_series(folder / "enhanced", SeriesSpec((SIZE, SIZE, 4), multi_frame=True), voxels=smooth).paths
    )
    for name in ("implicit", "rle", "jpeg-ls", "jpeg-2000", "jpeg-lossless"):
        (folder / name).mkdir()
        made[name] = []
        for path in made["explicit"]:
            target = folder / name / path.name
            dataset = dcmread(path)
            dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[name])
            if name == "implicit":
                save(Dataset(dataset), target, implicit=True)
            elif name == "jpeg-lossless":
                dataset.save_as(target)
                _jpeg_lossless(target)
            else:
                syntax = {"rle": RLELossless, "jpeg-ls": JPEGLSLossless, "jpeg-2000": JPEG2000Lossless}[name]
                dataset.compress(syntax, generate_instance_uid=False)
                dataset.save_as(target)
            made[name].append(target)
    return made


def _jpeg_lossless(path: Path) -> None:
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise RuntimeError(f"gdcm cannot read {path}")
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    if not change.Change():
        raise RuntimeError(f"gdcm cannot code {path}")
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    if not writer.Write():
        raise RuntimeError(f"gdcm cannot write {path}")


def mutate(data: bytes, *, kind: str, generator: random.Random) -> bytes:
    """`data` with one fault of `kind`."""
    return KINDS[kind](bytearray(data), generator)


def _bytes(data: bytearray, generator: random.Random) -> bytes:
    for _ in range(generator.choice((1, 2, 5, 20, 100))):
        data[generator.randrange(132, len(data))] = generator.randrange(256)
    return bytes(data)


def _truncated(data: bytearray, generator: random.Random) -> bytes:
    return bytes(data[: generator.randrange(len(data))])


def _pixels(data: bytearray, generator: random.Random) -> bytes:
    start = data.rfind(b"\xe0\x7f\x10\x00")
    for _ in range(generator.choice((1, 3, 10, 50))):
        data[generator.randrange(start + 8, len(data))] = generator.choice((0, 0xFF, generator.randrange(256)))
    return bytes(data)


def _elements(data: bytearray) -> list[int]:
    """Where elements with an explicit VR begin, roughly."""
    names = {b"UI", b"CS", b"DS", b"IS", b"LO", b"SH", b"US", b"OW", b"OB", b"SQ", b"DA", b"TM", b"PN", b"FD", b"UL"}
    return [at for at in range(132, len(data) - 12) if bytes(data[at + 4 : at + 6]) in names]


def _at(data: bytearray, generator: random.Random) -> int:
    places = _elements(data)
    return generator.choice(places) if places else generator.randrange(132, len(data) - 12)


def _tag(data: bytearray, generator: random.Random) -> bytes:
    tags = [
        0xFFFEE000,
        0xFFFEE00D,
        0xFFFEE0DD,
        0x7FE00010,
        0x00280010,
        0x52009230,
        0x00080005,
        generator.getrandbits(32),
    ]
    tag = generator.choice(tags)
    data[(at := _at(data, generator)) : at + 4] = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    return bytes(data)


def _length(data: bytearray, generator: random.Random) -> bytes:
    at = _at(data, generator)
    if bytes(data[at + 4 : at + 6]) in {b"OW", b"OB", b"SQ"}:
        data[at + 8 : at + 12] = struct.pack(
            "<I", generator.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE, 1 << 20))
        )
    else:
        data[at + 6 : at + 8] = struct.pack("<H", generator.choice((0, 1, 3, 255, 0x7FFF, 0xFFFF)))
    return bytes(data)


def _vr(data: bytearray, generator: random.Random) -> bytes:
    at = _at(data, generator)
    data[at + 4 : at + 6] = generator.choice((b"SQ", b"UN", b"OB", b"UT", b"US", b"DS", b"FD", b"??", b"\0\0", b"AT"))
    return bytes(data)


def _sequence(data: bytearray, generator: random.Random) -> bytes:
    """A sequence without an end, once or nested."""
    at = _at(data, generator)
    depth = generator.choice((1, 2, 30, 900, 3000))
    return bytes(data[:at] + (_SEQUENCE + _ITEM) * depth + data[at:])


def _items(data: bytearray, generator: random.Random) -> bytes:
    """A sequence of very many empty items."""
    at = _at(data, generator)
    count = generator.choice((10, 1000, 20000))
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    length = generator.choice((8 * count, 0xFFFFFFFF, 8 * count + 5))
    head = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, length)
    return bytes(data[:at] + head + item * count + data[at:])


def _claims(data: bytearray, generator: random.Random) -> bytes:
    """Sizes that the pixels do not have."""
    dataset = dcmread(io.BytesIO(bytes(data)), stop_before_pixels=False)
    for _ in range(generator.choice((1, 2))):
        keyword = generator.choice(("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit"))
        value = generator.choice((0, 1, 7, 8, 16, 32, 64, 1000, 30000, 65535))
        setattr(dataset, keyword, value)
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def _values(data: bytearray, generator: random.Random) -> bytes:
    """Numbers that are none, or no geometry."""
    places = [at for at in _elements(data) if bytes(data[at + 4 : at + 6]) in {b"DS", b"IS", b"CS", b"UI", b"FD"}]
    at = generator.choice(places)
    length = struct.unpack("<H", data[at + 6 : at + 8])[0]
    words = (b"NaN", b"inf", b"-1e999", b"\\" * 40, b"0" * 40, b"1e30", b"", b"\xff\xfe", b"x")
    word = generator.choice(words)[:length].ljust(length)
    data[at + 8 : at + 8 + length] = word
    return bytes(data)


def _spliced(data: bytearray, generator: random.Random) -> bytes:
    first, second = sorted(generator.randrange(132, len(data)) for _ in range(2))
    piece = data[first : min(second, first + 4000)]
    at = generator.randrange(132, len(data))
    return bytes(data[:at] + piece * generator.choice((1, 2, 8)) + data[at:])


KINDS: dict[str, Callable[[bytearray, random.Random], bytes]] = {
    "bytes": _bytes,
    "truncated": _truncated,
    "pixels": _pixels,
    "tag": _tag,
    "length": _length,
    "VR": _vr,
    "sequence": _sequence,
    "items": _items,
    "claims": _claims,
    "values": _values,
    "spliced": _spliced,
}
