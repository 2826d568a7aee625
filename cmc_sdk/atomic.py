"""Writing files so that nothing half-written ever stands under its final name."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from cmc_sdk.errors import InputError, ResourceError

__all__ = ["atomic_directory", "atomic_file"]


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it is flushed to disk and renamed over `path`.

    The temporary name ends with the same suffixes as `path`, since writers choose their format by it. On any error,
    Ctrl-C included, the temporary file is removed and `path` is as it was before.

    Args:
        path: The final file. Its folder must exist.

    Raises:
        InputError: The folder does not exist.
        ResourceError: The disk is full or the folder cannot be written.
    """
    final = Path(path)
    if not final.parent.is_dir():
        raise InputError(f"{final}: its folder does not exist", mend=f"create {final.parent} first")
    temporary = final.with_name(f".{uuid.uuid4().hex[:8]}.{final.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, final)
    except OSError as error:
        raise _resource_error(final, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder beside `path` to fill; on success it is renamed to `path`, which must not exist yet.

    Args:
        path: The final folder. Its parent must exist.

    Raises:
        InputError: `path` exists already, or its parent does not.
        ResourceError: The disk is full or the parent cannot be written.
    """
    final = Path(path)
    if not final.parent.is_dir():
        raise InputError(f"{final}: its folder does not exist", mend=f"create {final.parent} first")
    if final.exists():
        raise InputError(f"{final} exists already", mend="remove it or choose another name")
    temporary = final.with_name(f".{uuid.uuid4().hex[:8]}.{final.name}")
    try:
        temporary.mkdir()
        yield temporary
        os.rename(temporary, final)
    except OSError as error:
        raise _resource_error(final, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _resource_error(path: Path, error: OSError) -> ResourceError:
    reason = error.strerror or type(error).__name__
    return ResourceError(f"{path} could not be written: {reason}", mend="free space or choose another place")
