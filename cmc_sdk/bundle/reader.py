"""Opening a bundle: nothing in it is believed before it has been checked."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import ValidationError

from cmc_sdk.bundle.manifest import SCHEMA_VERSION, FileEntry, Manifest
from cmc_sdk.bundle.paths import MANIFEST, check_paths
from cmc_sdk.bundle.plain_file import open_plain
from cmc_sdk.bundle.signature import SIGNATURE, SIGNATURE_BYTES, Signature, parse_signature
from cmc_sdk.bundle.strict_json import MAX_BYTES, parse_json
from cmc_sdk.bundle.trust import TrustStore, Verdict, judge_signature
from cmc_sdk.errors import BundleError
from cmc_sdk.progress import Progress

__all__ = ["Bundle", "open_bundle", "parse_manifest"]

_AGAIN = "get the bundle again from whoever made it"
_CHUNK = 4 << 20
_MAX_FILE_BYTES = (2 << 30) - 1  # of a protocol buffer, which is what a graph is
_MAX_FILES, _MAX_DEPTH = 4096, 16


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its manifest and listing are checked, its files are checked as they are read.

    Args:
        path: Its folder.
        manifest: What it is.
        manifest_sha256: Hash of the exact bytes of manifest.json, in hex: the identity of the bundle.
        manifest_bytes: Those bytes: what is signed.
        signature: Of manifest.sig; None: the bundle is unsigned.
        verdict: Why it may run; None: nobody was asked.
    """

    path: Path
    manifest: Manifest
    manifest_sha256: str
    manifest_bytes: bytes = field(repr=False)
    signature: Signature | None
    verdict: Verdict | None
    _entries: dict[str, FileEntry] = field(repr=False)

    def read(self, relpath: str) -> bytes:
        """The content of one listed file, read once; its hash is taken of the very bytes that are returned.

        Args:
            relpath: As the manifest lists it.

        Raises:
            BundleError: Not listed, or its size or hash is not the listed one.
        """
        entry = self._entry(relpath)
        data = _read_once(self.path, relpath, size=entry.size)
        self._check_hash(entry, hashlib.sha256(data).hexdigest())
        return data

    def verify_all(self, *, progress: Progress | None = None) -> None:
        """Hash every listed file, a few megabytes at a time.

        Args:
            progress: Called with the path, how many files are done, and how many there are.

        Raises:
            BundleError: The first file whose size or hash is not the listed one.
        """
        for done, entry in enumerate(self.manifest.files, start=1):
            digest, left = hashlib.sha256(), entry.size + 1
            with _open_file(self.path, entry.path, size=entry.size) as handle:
                while left and (part := handle.read(min(left, _CHUNK))):
                    digest.update(part)
                    left -= len(part)
            if left != 1:
                raise _wrong_size(self.path, entry.path, listed=entry.size, found=entry.size + 1 - left)
            self._check_hash(entry, digest.hexdigest())
            if progress is not None:
                progress(entry.path, done, len(self.manifest.files))

    def _entry(self, relpath: str) -> FileEntry:
        if relpath not in self._entries:
            raise BundleError(
                f"{self.path} lists no file {relpath!r}", mend=f"choose one of {', '.join(sorted(self._entries))}"
            )
        return self._entries[relpath]

    def _check_hash(self, entry: FileEntry, found: str) -> None:
        if found != entry.sha256:
            raise BundleError(
                f"{self.path / entry.path} is not the file that the manifest lists: its sha256 is {found[:12]}…, "
                f"listed is {entry.sha256[:12]}…",
                mend=_AGAIN,
            )


def open_bundle(path: str | os.PathLike[str], *, policy: TrustStore | Literal["development"] | None = None) -> Bundle:
    """Open the bundle at `path`: its manifest is parsed strictly, and listing and sizes are compared at once.

    The signature is checked before the manifest is parsed. No content but manifest.json and manifest.sig is read:
    `Bundle.read` and `Bundle.verify_all` check hashes.

    Args:
        path: The folder `NAME.cmc`.
        policy: Whose bundles may run, as `require_trust` gives it. None: nobody is asked, only whether the bundle is
            what its own manifest says, which whoever changes one can change too; a session refuses such a bundle.

    Raises:
        TrustError: The policy does not admit it.
        BundleError: Not a bundle; a manifest that breaks the schema or is of another schema version; a link or device
            in the folder; a file that is missing, not listed, of another size or of 2 GiB and more; a manifest.sig
            that is no signature. Each is named.
    """
    folder = Path(path)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise BundleError(f"{folder} {what}", mend="give the folder of a bundle (NAME.cmc)")
    found = _listing(folder)
    if MANIFEST not in found:
        raise BundleError(f"{folder} is not a bundle: it holds no {MANIFEST}", mend="give the folder of a bundle")
    if found[MANIFEST] > MAX_BYTES:
        raise BundleError(f"{folder / MANIFEST} has {found[MANIFEST]} bytes, more than {MAX_BYTES}", mend=_AGAIN)
    data = _read_once(folder, MANIFEST, size=found[MANIFEST])
    signature = _read_signature(folder, size=found[SIGNATURE]) if SIGNATURE in found else None
    verdict = None if policy is None else judge_signature(policy, data, signature, name=str(folder))
    manifest = parse_manifest(data, name=str(folder / MANIFEST))
    if isinstance(policy, TrustStore):
        policy.check_version(manifest.name, manifest.version, name=str(folder))
    entries = {entry.path: entry for entry in manifest.files}
    for missing in sorted(set(entries) - set(found)):
        raise BundleError(f"{folder}: the file {missing}, which the manifest lists, is missing", mend=_AGAIN)
    for extra in sorted(set(found) - set(entries) - {MANIFEST, SIGNATURE}):
        raise BundleError(
            f"{folder}: the file {extra} is not listed in the manifest", mend="remove it; a bundle is never changed"
        )
    for relpath, entry in sorted(entries.items()):
        if found[relpath] != entry.size:
            raise _wrong_size(folder, relpath, listed=entry.size, found=found[relpath])
    return Bundle(
        path=folder,
        manifest=manifest,
        manifest_sha256=hashlib.sha256(data).hexdigest(),
        manifest_bytes=data,
        signature=signature,
        verdict=verdict,
        _entries=entries,
    )


def parse_manifest(data: bytes, *, name: str) -> Manifest:
    """A manifest from its exact bytes.

    Raises:
        BundleError: Not strict JSON, of another schema version, or breaking the schema: names the first key that does.
    """
    parsed = parse_json(data, name=name)
    version = parsed.get("schema_version") if isinstance(parsed, dict) else None
    if type(version) is not int:
        raise BundleError(f"{name} is not a bundle's manifest: it has no schema_version", mend=_AGAIN)
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{name} has schema version {version}; this cmc-sdk reads version {SCHEMA_VERSION}",
            mend="upgrade cmc-sdk" if version > SCHEMA_VERSION else "export the bundle again",
        )
    try:
        # Strict: a number in quotation marks is not a number.
        manifest = Manifest.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise BundleError(f"{name}: {_first_fault(error)}", mend=_AGAIN) from error
    check_paths((entry.path for entry in manifest.files), name=name)
    for entry in manifest.files:
        if entry.size > _MAX_FILE_BYTES:
            raise BundleError(
                f"{name}: {entry.path} is said to have {entry.size} bytes; a file has less than 2 GiB", mend=_AGAIN
            )
    return manifest


def _first_fault(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False)
    key = ".".join(str(part) for part in faults[0]["loc"])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    message = faults[0]["msg"].removeprefix("Value error, ")
    return f"{key}: {message}{more}" if key else f"{message}{more}"


def _listing(folder: Path) -> dict[str, int]:
    """Every file under `folder` with its size; links and devices are refused, never followed."""
    found: dict[str, int] = {}
    folders, seen = [""], 0
    while folders:
        prefix = folders.pop()
        if prefix.count("/") > _MAX_DEPTH:
            raise BundleError(f"{folder} holds folders more than {_MAX_DEPTH} deep", mend=_AGAIN)
        with os.scandir(folder / prefix) as items:
            for item in items:
                seen += 1
                if seen > _MAX_FILES:
                    raise BundleError(f"{folder} holds more than {_MAX_FILES} files and folders", mend=_AGAIN)
                relpath = f"{prefix}{item.name}"
                status = item.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    folders.append(f"{relpath}/")
                elif stat.S_ISREG(status.st_mode):
                    found[relpath] = status.st_size
                else:
                    kind = "a link" if item.is_symlink() else "not a plain file"
                    raise BundleError(f"{folder}: {relpath} is {kind}; a bundle holds plain files only", mend=_AGAIN)
    return found


def _read_signature(folder: Path, *, size: int) -> Signature:
    name = str(folder / SIGNATURE)
    # Another length is no signature, and is not read.
    return parse_signature(_read_once(folder, SIGNATURE, size=size) if size == SIGNATURE_BYTES else b"", name=name)


def _read_once(folder: Path, relpath: str, *, size: int) -> bytes:
    with _open_file(folder, relpath, size=size) as handle:
        # One byte more than listed, to see a file that has grown since its size was looked at.
        data = handle.read(size + 1)
    if len(data) != size:
        raise _wrong_size(folder, relpath, listed=size, found=len(data))
    return data


def _open_file(folder: Path, relpath: str, *, size: int) -> BinaryIO:
    """Not through a link that was put there since the listing; not blocking on a pipe."""
    try:
        handle = open_plain(folder, relpath)
    except OSError as error:
        reason = error.strerror or "it is not a plain file"
        raise BundleError(f"{folder / relpath} cannot be read: {reason}", mend=_AGAIN) from error
    found = os.fstat(handle.fileno()).st_size
    if found != size:
        handle.close()
        raise _wrong_size(folder, relpath, listed=size, found=found)
    return handle


def _wrong_size(folder: Path, relpath: str, *, listed: int, found: int) -> BundleError:
    return BundleError(
        f"{folder}: the file {relpath} has {found} bytes, the manifest lists {listed}",
        mend=_AGAIN,
    )
