"""The header of one DICOM file, read by pydicom under our limits, and where its pixels begin."""

from __future__ import annotations

import io
import os
import struct
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cmc_sdk.imaging.dicom.quiet import quiet_pydicom
from cmc_sdk.imaging.dicom.reading.attributes import Attributes
from cmc_sdk.imaging.dicom.reading.dicom_limits import DicomLimits
from cmc_sdk.imaging.dicom.refusal import DicomError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from cmc_sdk.imaging.dicom.tags import Keyword

__all__ = ["Header", "is_dicom", "read_dataset", "read_header"]

_COPY_AGAIN = "copy it again from its source"
# Far more than any header of a scanner needs.
_CPU_S, _BYTES_PER_CPU_S = 1.0, 4e6
# Headers of most scanners lie in this many bytes.
_FIRST = 1 << 16
_UNDEFINED = 0xFFFFFFFF
_PIXEL_KINDS: dict[Keyword, str] = {
    "PixelData": "",
    "FloatPixelData": "floating point",
    "DoubleFloatPixelData": "floating point",
}
_LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_DEFLATED = {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1"}


@dataclass(frozen=True)
class Header:
    """One file's header.

    Args:
        path: The file.
        file_bytes: Its size.
        attributes: All before the pixels.
        meta: The file meta information.
        transfer_syntax: Its UID; implicit little endian where the file does not say.
        little_endian: Byte order of the pixels.
        pixel_offset: Where the pixels' first byte lies; None where the file holds none.
        pixel_bytes: Their length as the file says; None where they are encapsulated.
        pixel_kind: "" for integers, else what else they are.
    """

    path: Path
    file_bytes: int
    attributes: Attributes
    meta: Attributes
    transfer_syntax: str
    little_endian: bool
    pixel_offset: int | None
    pixel_bytes: int | None
    pixel_kind: str = ""

    def meta_text(self, keyword: Keyword) -> str:
        """A UID of the file meta information."""
        return self.meta.text(keyword)


class _Bounded:
    """A file that pydicom may read: never past its end, so that a false length cannot ask for memory.

    A parser turns eight bytes into an object of a thousand: processor time is bounded too, by the size of the file.
    """

    def __init__(self, handle: BinaryIO, *, size: int, most: int, path: Path) -> None:
        self._handle, self._size, self._left, self._path = handle, size, most, path
        self.seek, self.tell, self.name = handle.seek, handle.tell, ""
        self._reads = 0
        self._until = time.thread_time() + _CPU_S + size / _BYTES_PER_CPU_S

    def read(self, length: int = -1) -> bytes:
        self._reads += 1
        if self._reads % 4096 == 0 and time.thread_time() > self._until:
            raise DicomError("damaged", f"{self._path}: its header has no end", mend=_COPY_AGAIN)
        if length < 0 or length > 4096:
            room = max(0, self._size - self._handle.tell())
            length = room if length < 0 else min(length, room)
            self._left -= length
            if self._left < 0:
                raise DicomError(
                    "too large", f"{self._path}: its header is larger than is allowed", mend="raise max_header_bytes"
                )
        return self._handle.read(length)


def is_dicom(start: bytes) -> bool:
    """Whether a file that begins so (132 bytes or more) is DICOM: with a preamble, or a bare data set of old."""
    return start[128:132] == b"DICM" or (start[:2] == b"\x08\0" and start[3:4] == b"\0" and len(start) >= 132)


def read_header(path: Path, *, limits: DicomLimits) -> Header | None:
    """The header of `path`, or None where it is not DICOM.

    Raises:
        DicomError: It cannot be read, is damaged, or is compressed as a whole (deflate).
    """
    try:
        with open(path, "rb", buffering=0) as handle:
            start = handle.read(_FIRST)
            if not is_dicom(start):
                return None
            size = os.fstat(handle.fileno()).st_size
        header = _from_start(start, path=path, size=size)
        if header is not None:
            return header
        with open(path, "rb") as whole:
            bounded = _Bounded(whole, size=size, most=limits.max_header_bytes, path=path)
            return _parse(bounded, whole, path=path, size=size, bare=start[128:132] != b"DICM")
    except DicomError:
        raise
    except OSError as error:  # of the disk, with a reason; or of pydicom, without
        raise _damaged(path, error.strerror or error) from error
    except Exception as error:  # whatever a parser raises on hostile bytes is one thing to the user
        raise _damaged(path, error) from error


def read_dataset(path: Path) -> Dataset:
    """The whole data set of `path` as pydicom has it, without its pixels; for what is written back.

    Raises:
        DicomError: It cannot be read.
    """
    from pydicom import dcmread

    try:
        with quiet_pydicom():
            return dcmread(path, stop_before_pixels=True, force=True)
    except Exception as error:
        raise _damaged(path, error) from error


def _from_start(start: bytes, *, path: Path, size: int) -> Header | None:
    """The header, if it lies whole in the first bytes of the file; one read of the disk then does for both."""
    bare = start[128:132] != b"DICM"
    if not bare:
        _refuse_deflated(start[:2048], path=path)
    stream = io.BytesIO(start)
    try:
        header = _parse(stream, stream, path=path, size=size, bare=bare)
    except Exception:
        if size <= len(start):
            raise
        return None
    return header if header.pixel_offset is not None or size <= len(start) else None


def _parse(source: BinaryIO | _Bounded, handle: BinaryIO, *, path: Path, size: int, bare: bool) -> Header:
    """Parse what `source` reads; `handle` is the same file, at the same place."""
    from pydicom import dcmread

    dataset = dcmread(source, stop_before_pixels=True, force=bare)
    position = handle.tell()
    meta = Attributes(dataset.file_meta)
    implicit, little = dataset.original_encoding
    encodings = dataset._character_set if isinstance(dataset._character_set, list) else None
    offset, length, kind = _pixels(handle, position, size=size, implicit=bool(implicit), little=little is not False)
    return Header(
        path=path,
        file_bytes=size,
        attributes=Attributes(dataset, encodings=encodings),
        meta=meta,
        transfer_syntax=meta.text("TransferSyntaxUID") or "1.2.840.10008.1.2",
        little_endian=little is not False,
        pixel_offset=offset,
        pixel_bytes=length,
        pixel_kind=kind,
    )


def _refuse_deflated(start: bytes, *, path: Path) -> None:
    """Before pydicom inflates it without a bound."""
    for uid in _DEFLATED:
        if b"\x02\x00\x10\x00UI" + struct.pack("<H", len(uid) + len(uid) % 2) + uid.encode() in start:
            raise DicomError(
                "decoder", f"{path} is deflated as a whole, which is not read", mend="convert it (dcmtk: dcmconv +te)"
            )


def _pixels(
    handle: BinaryIO, position: int, *, size: int, implicit: bool, little: bool
) -> tuple[int | None, int | None, str]:
    """Offset, length and kind of the pixels, from the element at which pydicom stopped."""
    handle.seek(position)
    start = handle.read(12)
    if len(start) < 8:
        return None, None, ""
    order = "<" if little else ">"
    group, element = struct.unpack(f"{order}HH", start[:4])
    tag = group << 16 | element
    kind = _kind_by_tag().get(tag)
    if kind is None:
        return None, None, ""
    if implicit or start[4:6] not in _LONG_VRS:
        offset, length = position + 8, int(struct.unpack(f"{order}I", start[4:8])[0])
    elif len(start) == 12:
        offset, length = position + 12, int(struct.unpack(f"{order}I", start[8:12])[0])
    else:
        return None, None, ""
    return offset, None if length == _UNDEFINED else length, kind


@cache
def _kind_by_tag() -> dict[int, str]:
    from cmc_sdk.imaging.dicom.tags import TAGS  # here: with pydicom, once something is read

    return {TAGS[keyword]: kind for keyword, kind in _PIXEL_KINDS.items()}


def _damaged(path: Path, error: Exception | str) -> DicomError:
    reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
    return DicomError("damaged", f"{path} cannot be read as DICOM ({reason})", mend=_COPY_AGAIN)
