"""The state folder: what a machine has built and proved for itself, written by its owner and by nobody else.

An engine is machine code that runs with the caller's rights. It is therefore kept in a folder that only the caller can
enter (0700, owner checked), never in the bundle, and every file in it carries an HMAC under a key that lies beside it,
readable by the owner alone (0600). All files are opened relative to the folder's own descriptor and never through a
link, so that what was checked is what is used even if somebody moves the folder meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from cmc_sdk.errors import InputError, ResourceError

__all__ = ["StateFolder"]

_KEY = "key"
_KEY_BYTES = 32
_TEMPORARY = ".partial-"
_ABANDONED_S = 86400.0


class StateFolder:
    """An open state folder; use it in a `with` block, or close it.

    Args:
        path: The folder. Its own name must not be a link; links above it are the system's matter.
        create: Make it, with its key, where it does not exist; False: it must exist.

    Raises:
        InputError: A link, not a folder, of another owner, open to others, or without its key: named, with the mend.
        ResourceError: It cannot be made, or this system has no owners and rights to check.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        self.path = Path(path)
        self._fd = -1
        if not hasattr(os, "geteuid") or os.open not in os.supports_dir_fd:
            raise ResourceError(
                f"{self.path}: on this system owner and rights of a state folder cannot be checked",
                mend="build and use engines on Linux",
            )
        if create:
            self._create()
        self._fd = self._open()
        try:
            self._check()
            self._secret = self._read_key(create=create)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the folder's descriptor; it can be closed twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def names(self, *, suffix: str) -> list[str]:
        """Names of the files that end with `suffix`, sorted."""
        return sorted(name for name in os.listdir(self._fd) if name.endswith(suffix) and not name.startswith("."))

    def mac(self, domain: str, data: bytes) -> str:
        """HMAC-SHA256 of `data` under the folder's key, in hex; `domain` says what kind of thing it is."""
        return hmac.new(self._secret, domain.encode() + b"\0" + data, hashlib.sha256).hexdigest()

    def same_mac(self, mac: str, *, domain: str, data: bytes) -> bool:
        """Whether `mac` is that of `data`, compared in constant time."""
        return hmac.compare_digest(mac, self.mac(domain, data))

    def read(self, name: str, *, limit: int) -> bytes:
        """A file's content, at most `limit` bytes.

        Raises:
            FileNotFoundError: There is none.
            InputError: A link or device, of another owner, writable by others, or larger than `limit`.
        """
        with self._plain(name) as (handle, status):
            if status.st_size > limit:
                raise self._refusal(name, f"has {status.st_size} bytes, more than {limit}")
            data = handle.read(limit + 1)
        if len(data) != status.st_size:
            raise self._refusal(name, "changed while it was read")
        return data

    @contextlib.contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        """Yield a new file, 0600; it stands under `name` when the block has ended well, flushed, and not before.

        Raises:
            ResourceError: The disk is full, or the folder is gone.
        """
        temporary = f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=self._fd), "wb") as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            os.fsync(self._fd)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ResourceError(
                f"{self.path / name} could not be written: {reason}", mend="free space or choose another --state"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self._fd)

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder against other processes that write to it, and clear what killed ones left half-written.

        What is younger than a day may be the log of a build that goes on in another process, and stays.
        """
        import fcntl

        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            for name in os.listdir(self._fd):
                if name.startswith(_TEMPORARY) and self._age_s(name) > _ABANDONED_S:
                    self.remove(name)
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _age_s(self, name: str) -> float:
        try:
            return time.time() - os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mtime
        except FileNotFoundError:
            return 0.0

    def _create(self) -> None:
        if not self.path.parent.is_dir():
            raise InputError(f"{self.path}: its folder does not exist", mend=f"create {self.path.parent} first")
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError:
            return
        except OSError as error:
            raise ResourceError(
                f"the state folder {self.path} cannot be made: {error.strerror}", mend="choose another --state"
            ) from error

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise InputError(
                f"the state folder {self.path} does not exist", mend="run `cmc engine build BUNDLE --state DIR` first"
            ) from error
        except OSError as error:
            link = error.errno in (errno.ELOOP, errno.ENOTDIR) and self.path.is_symlink()
            reason = "is a link" if link else f"cannot be opened: {error.strerror}"
            raise InputError(f"the state folder {self.path} {reason}", mend="give a folder of your own") from error

    def _check(self) -> None:
        status = os.fstat(self._fd)
        if status.st_uid != os.geteuid():
            raise InputError(
                f"the state folder {self.path} belongs to user {status.st_uid}, not to {os.geteuid()} who runs this",
                mend="give a folder of your own: whoever owns it decides what code runs",
            )
        if status.st_mode & 0o077:
            others = "written to" if status.st_mode & 0o022 else "read"
            raise InputError(
                f"the state folder {self.path} can be {others} by others (mode {stat.S_IMODE(status.st_mode):04o})",
                mend=f"if you trust what is in it: chmod 700 {self.path}; otherwise give a new folder",
            )

    def _read_key(self, *, create: bool) -> bytes:
        try:
            return self._existing_key()
        except FileNotFoundError:
            if not create:
                raise InputError(
                    f"{self.path} is no state folder: it holds no {_KEY}",
                    mend="give the folder that `cmc engine build --state` made",
                ) from None
        if set(self.names(suffix="")) - {_KEY}:
            raise InputError(
                f"{self.path} holds files, but no {_KEY}: it is no state folder, or its key was lost",
                mend="give an empty or new folder",
            )
        with self.lock():
            with contextlib.suppress(FileNotFoundError):
                return self._existing_key()  # another process was faster
            with self.write(_KEY) as handle:
                handle.write(secrets.token_bytes(_KEY_BYTES))
        return self._existing_key()

    def _existing_key(self) -> bytes:
        secret = self.read(_KEY, limit=_KEY_BYTES)
        if len(secret) != _KEY_BYTES:
            raise self._refusal(_KEY, f"has {len(secret)} bytes, not {_KEY_BYTES}")
        return secret

    @contextlib.contextmanager
    def _plain(self, name: str) -> Iterator[tuple[BinaryIO, os.stat_result]]:
        """A file of the folder, opened for reading, that is what this class would have written."""
        try:
            # Not blocking: a pipe that somebody put there must not hold the process.
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            reason = "is a link" if error.errno == errno.ELOOP else f"cannot be opened: {error.strerror}"
            raise self._refusal(name, reason) from error
        status = os.fstat(fd)
        fault = None
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            fault = "is not a plain file with one name"
        elif status.st_uid != os.geteuid():
            fault = f"belongs to user {status.st_uid}"
        elif status.st_mode & 0o077:
            fault = f"is open to others (mode {stat.S_IMODE(status.st_mode):04o})"
        if fault is not None:
            os.close(fd)
            raise self._refusal(name, fault)
        with os.fdopen(fd, "rb") as handle:
            yield handle, status

    def _refusal(self, name: str, reason: str) -> InputError:
        return InputError(f"{self.path / name} {reason}", mend="remove the state folder and build the engines again")
