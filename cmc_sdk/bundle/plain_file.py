"""Opening a file that somebody else may have prepared: no links, no pipes, no more bytes than agreed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from cmc_sdk.errors import CmcError

__all__ = ["open_plain", "read_plain"]

_NOT_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NO_LINK


def open_plain(folder: str | os.PathLike[str], relpath: str) -> BinaryIO:
    """Open `folder/relpath` for reading, without following a link anywhere below `folder`.

    Args:
        folder: Where to start; may itself be reached through a link, which is its user's own.
        relpath: With forward slashes.

    Raises:
        OSError: It cannot be opened, a part of it is a link, or (without an errno) it is not a plain file.
    """
    if os.open not in os.supports_dir_fd:
        return _plain(os.open(Path(folder) / relpath, os.O_RDONLY | _NO_LINK | _NOT_BLOCKING))
    *folders, name = relpath.split("/")
    place = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        # One step at a time: each folder is held open while the next is looked up in it, so that none can be exchanged
        # for a link in between.
        for step in folders:
            inner = os.open(step, _FOLDER, dir_fd=place)
            os.close(place)
            place = inner
        return _plain(os.open(name, os.O_RDONLY | _NO_LINK | _NOT_BLOCKING, dir_fd=place))
    finally:
        os.close(place)


def read_plain(
    path: str | os.PathLike[str], *, max_bytes: int, error: type[CmcError], mend: str, guarded: bool = False
) -> bytes:
    """The whole content of a small file that is no link.

    Args:
        path: Of the file.
        max_bytes: A longer one is refused, unread.
        error: What to raise.
        mend: The way out that it names.
        guarded: Refuse a file that every user of the machine may write.

    Raises:
        CmcError: Of the class `error`: missing, a link, not a plain file, too long, or not guarded.
    """
    where = Path(path)
    try:
        if where.is_symlink():
            raise error(f"{where} is a link, which is not followed", mend=mend)
        with open_plain(where.parent, where.name) as handle:
            status = os.fstat(handle.fileno())
            size = status.st_size
            # One byte more than allowed, to see a file that grows while it is read.
            data = handle.read(max_bytes + 1) if size <= max_bytes else b""
    except OSError as fault:
        reason = "it is not a plain file" if fault.errno is None else fault.strerror
        raise error(f"{where} cannot be read: {reason}", mend=mend) from fault
    if guarded and os.name == "posix" and status.st_mode & stat.S_IWOTH:
        raise error(f"{where} may be written by everyone on this machine", mend=f"run: chmod o-w {where}")
    if max(size, len(data)) > max_bytes:
        raise error(f"{where} has {max(size, len(data))} bytes, more than {max_bytes}", mend=mend)
    return data


def _plain(descriptor: int) -> BinaryIO:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a plain file")
    return os.fdopen(descriptor, "rb")
