"""The bytes of a NIfTI file, compressed or not, read straight into their final place."""

from __future__ import annotations

import contextlib
import itertools
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from cmc_sdk.errors import DataError
from cmc_sdk.imaging.gzip_parts import gzip_parts

__all__ = ["ByteStream", "open_bytes", "write_bytes"]

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
# Deflate cannot shrink data by more than 1032 to 1: a header that claims more is wrong, whatever the file holds.
_DEFLATE_LIMIT = 1032
_COPY_AGAIN = "copy or convert it again from its source"


class ByteStream:
    """A forward-only reader that fills given memory, so that a volume is never held twice.

    Args:
        handle: The open file, at its start.
        path: What to call it in messages.

    Attributes:
        most_bytes: How many bytes it can hold at most, decompressed.
    """

    def __init__(self, handle: BinaryIO, *, path: Path) -> None:
        self._handle, self._path = handle, path
        self._compressed = handle.read(2) == _GZIP_MAGIC
        handle.seek(0)
        self._inflate = zlib.decompressobj(wbits=31)
        self._pending = b""
        size = os.fstat(handle.fileno()).st_size
        self.most_bytes = size * _DEFLATE_LIMIT if self._compressed else size

    def fill(self, target: memoryview) -> int:
        """Fill `target` as far as the file goes; the number of bytes that were there.

        Raises:
            DataError: The compressed data are damaged.
        """
        done = 0
        while done < len(target):
            part = self._read(min(len(target) - done, _CHUNK))
            if not part:
                break
            target[done : done + len(part)] = part
            done += len(part)
        return done

    def finish(self) -> None:
        """Read what follows to the end, so that the checksum of a compressed file is seen.

        Raises:
            DataError: The checksum differs, or the compressed data end too early.
        """
        while self._compressed and self._read(_CHUNK):
            pass

    def _read(self, most: int) -> bytes:
        if not self._compressed:
            return self._handle.read(most)
        while True:
            if self._inflate.eof and not self._next_member():
                return b""
            raw = self._pending or self._handle.read(_CHUNK)
            if not raw:
                raise DataError(f"{self._path} is truncated: its compressed data stop short", mend=_COPY_AGAIN)
            try:
                part = self._inflate.decompress(raw, most)
            except zlib.error as error:
                raise DataError(f"{self._path} is damaged: {error}", mend=_COPY_AGAIN) from error
            self._pending = self._inflate.unconsumed_tail
            if part:
                return part

    def _next_member(self) -> bool:
        """Go to the next gzip member (a file may be several, one after the other); padding with zeros is skipped."""
        rest = self._inflate.unused_data
        while not rest.lstrip(b"\0"):
            rest = self._handle.read(_CHUNK)
            if not rest:
                return False
        rest = rest.lstrip(b"\0")
        self._inflate, self._pending = zlib.decompressobj(wbits=31), rest
        return True


@contextlib.contextmanager
def open_bytes(path: Path) -> Iterator[ByteStream]:
    """Open `path`, compressed or not by its content rather than by its name.

    Raises:
        DataError: It is missing, a folder, empty, or must not be read.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a NIfTI file", mend="give a .nii or .nii.gz file")
    try:
        handle = open(path, "rb")  # noqa: SIM115 - closed below; only opening is to be guarded here
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", mend="check the path") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", mend="check its permissions") from error
    with handle:
        stream = ByteStream(handle, path=path)
        if stream.most_bytes == 0:
            raise DataError(f"{path} is empty", mend=_COPY_AGAIN)
        yield stream


def write_bytes(path: Path, *, header: bytes, array: npt.NDArray[np.generic], compressed: bool) -> None:
    """Write `header` and then `array` in NIfTI's order (x fastest), one slab at a time; equal inputs, equal bytes."""
    depth = max(1, 8 * _CHUNK // max(1, array[:, :, :1].nbytes))
    slabs = (
        np.asfortranarray(array[:, :, start : start + depth]).tobytes(order="F")
        for start in range(0, array.shape[2], depth)
    )
    with open(path, "wb") as target:
        # Labels shrink five times further at level 4 than at 1 for little time; noise does not, for a lot of it.
        level = 4 if array.dtype.itemsize == 1 else 1
        parts = itertools.chain([header], slabs)
        target.writelines(gzip_parts(parts, level=level) if compressed else parts)
