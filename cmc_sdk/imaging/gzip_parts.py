"""Compressing to gzip on several processors: one member, as every reader knows it."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from cmc_sdk.threads import usable_threads

__all__ = ["gzip_parts"]

# Without name and time of day: both would make equal contents differ. Method deflate, system unknown.
_HEAD = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
_MOST_THREADS = 4


def gzip_parts(parts: Iterable[bytes], *, level: int) -> Iterator[bytes]:
    """The gzip file (RFC 1952) of all parts together, piece by piece.

    Each part is deflated by itself (zlib gives the interpreter back meanwhile) and ends on a byte, so that the pieces
    make one stream. The bytes depend on the parts and the level, not on the number of processors.

    Args:
        parts: The content, cut as it comes; a few megabytes each lose next to nothing. At most `_MOST_THREADS` and one
            more are held at once.
        level: Of zlib, 0 to 9.
    """
    checksum, size = 0, 0
    waiting: deque[Future[bytes]] = deque()
    yield _HEAD
    threads = min(_MOST_THREADS, usable_threads())
    with ThreadPoolExecutor(threads, thread_name_prefix="cmc-gzip") as pool:
        for part in parts:
            waiting.append(pool.submit(_deflate, part, level))
            checksum, size = zlib.crc32(part, checksum), size + len(part)
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    yield zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS).flush()  # an empty last block
    yield struct.pack("<II", checksum, size % 2**32)


def _deflate(part: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)
