"""Which files a path means: a file, a folder, a DICOMDIR, or a zip that is unpacked into a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import weakref
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cmc_sdk.errors import DataError
from cmc_sdk.imaging.dicom.reading.dicom_limits import DicomLimits
from cmc_sdk.imaging.dicom.reading.header import read_dataset
from cmc_sdk.imaging.dicom.refusal import DicomError, Refusal

__all__ = ["Files", "list_files"]

_CHUNK = 1 << 20
_FREE_RATIO_BYTES = 256 << 20


@dataclass
class Files:
    """The files that a path means.

    Args:
        paths: Regular files, sorted.
        refused: Links that lead out of the folder.
        holds: The temporary folder of an unpacked zip, which goes when nothing holds it any more.
    """

    paths: list[Path] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    holds: object = None


class _Unpacked:
    """A folder that is removed once nothing holds this any more, and when the process ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cmc-dicom-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


def list_files(path: str | os.PathLike[str], *, limits: DicomLimits) -> Files:
    """The files of `path`; a zip is unpacked under names of our own, so that no name in it can reach anywhere.

    Raises:
        DataError: It does not exist, cannot be read, or is over a limit.
    """
    place = Path(path)
    try:
        if place.is_dir():
            return _folder(place, limits=limits)
        if not place.exists():
            raise DataError(f"{place} does not exist", mend="check the path")
        if not place.is_file():
            raise DataError(f"{place} is no file and no folder", mend="give a DICOM file, folder, DICOMDIR or zip")
        with open(place, "rb") as handle:
            start = handle.read(4)
        if start in (b"PK\x03\x04", b"PK\x05\x06"):
            return _zip(place, limits=limits)
        if place.name.upper() == "DICOMDIR":
            return _dicomdir(place, limits=limits)
        return Files([place])
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror or error}", mend="check its permissions") from error


def _folder(folder: Path, *, limits: DicomLimits) -> Files:
    found = Files()
    root = os.path.realpath(folder)
    out = 0
    for place, _, names in os.walk(folder, followlinks=False):
        for name in names:
            path = os.path.join(place, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                target = os.path.realpath(path)
                if os.path.commonpath((root, target)) != root:
                    out += 1
                    continue
                mode = os.stat(path).st_mode if os.path.exists(path) else 0
            if stat.S_ISREG(mode):
                found.paths.append(Path(path))
                if len(found.paths) > limits.max_files:
                    raise _too_many(folder, limits)
    found.paths.sort()
    if out:
        found.refused.append(
            Refusal(
                "link out of the folder",
                f"{out} link(s) lead out of {folder}",
                "give the folder that holds the files",
                files=out,
            )
        )
    return found


def _dicomdir(path: Path, *, limits: DicomLimits) -> Files:
    """The files that a directory lists, inside its folder only."""
    found = Files()
    root = os.path.realpath(path.parent)
    missing = 0
    dataset = read_dataset(path)
    try:
        records = list(dataset.get("DirectoryRecordSequence") or [])
        listed = [record.get("ReferencedFileID") for record in records]
    except Exception as error:
        raise DicomError("damaged", f"{path} cannot be read as a DICOMDIR", mend="give its folder instead") from error
    for names in listed:
        if not names:
            continue
        parts = [names] if isinstance(names, str) else [str(name) for name in names]
        inside = all(re.fullmatch(r"[A-Za-z0-9_.+-]+", part) and part not in {".", ".."} for part in parts)
        target = os.path.realpath(os.path.join(root, *parts)) if inside else ""
        if not inside or os.path.commonpath((root, target)) != root:
            raise DicomError(
                "link out of the folder", f"{path} lists a file outside its folder", mend="give the folder instead"
            )
        if os.path.isfile(target):
            found.paths.append(path.parent.joinpath(*parts))
        else:
            missing += 1
        if len(found.paths) > limits.max_files:
            raise _too_many(path, limits)
    if missing:
        found.refused.append(
            Refusal("damaged", f"{path} lists {missing} file(s) that are not there", "copy the whole medium", missing)
        )
    return found


def _zip(path: Path, *, limits: DicomLimits) -> Files:
    mend = "unpack it yourself, and give the folder"
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check_members(path, members, limits=limits, mend=mend)
            holder = _Unpacked()
            paths = list(_unpack(archive, members, holder.folder, path=path))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(f"{path} cannot be unpacked: {error}", mend="pack it again, or give the folder") from error
    return Files(paths, holds=holder)


def _check_members(path: Path, members: list[zipfile.ZipInfo], *, limits: DicomLimits, mend: str) -> None:
    """By what the zip announces; what it holds beyond that is never read."""
    if len(members) > limits.max_files:
        raise _too_many(path, limits)
    for member in members:
        parts = re.split(r"[/\\]", member.filename)
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise DataError(f"{path} holds a file that leads out of it ({member.filename[:80]!r})", mend=mend)
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f"{path} holds a link ({member.filename[:80]!r})", mend=mend)
        if member.flag_bits & 1:
            raise DataError(f"{path} is encrypted", mend=mend)
    unpacked, packed = (sum(getattr(member, size) for member in members) for size in ("file_size", "compress_size"))
    if unpacked > limits.max_unpacked_bytes:
        raise DataError(f"{path} unpacks to {unpacked / 1e9:.1f} GB, more than is allowed", mend=mend)
    if unpacked > _FREE_RATIO_BYTES and unpacked > limits.max_zip_ratio * max(packed, 1):
        raise DataError(f"{path} unpacks to {unpacked / max(packed, 1):.0f} times its size", mend=mend)
    if unpacked > shutil.disk_usage(tempfile.gettempdir()).free:
        raise DataError(
            f"{path} unpacks to {unpacked / 1e9:.1f} GB and {tempfile.gettempdir()} has no room for it",
            mend="set TMPDIR to a larger place, or give the folder",
        )


def _unpack(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path, *, path: Path) -> Iterator[Path]:
    for index, member in enumerate(members):
        name = re.sub(r"[^A-Za-z0-9._-]", "_", re.split(r"[/\\]", member.filename)[-1])[-64:]
        target = folder / f"{index:06d}-{name}"
        left = member.file_size
        with archive.open(member) as source, open(target, "xb") as sink:
            while chunk := source.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise DataError(f"{path} holds more than it announces", mend="pack it again, or give the folder")
                sink.write(chunk)
        yield target


def _too_many(path: Path, limits: DicomLimits) -> DataError:
    return DataError(f"{path} holds more than {limits.max_files} files", mend="give the folder of one study")
