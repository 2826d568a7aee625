"""Writing a bundle, once: it is never changed after."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from cmc_sdk.atomic import atomic_directory
from cmc_sdk.bundle.manifest import SCHEMA_VERSION, FileEntry, Manifest
from cmc_sdk.bundle.paths import MANIFEST, check_paths
from cmc_sdk.bundle.reader import open_bundle, parse_manifest
from cmc_sdk.errors import BundleError

__all__ = ["write_bundle"]

_CHUNK = 4 << 20


def write_bundle(
    path: str | os.PathLike[str], *, manifest_fields: Mapping[str, Any], files: Mapping[str, Path | bytes]
) -> Manifest:
    """Write a new bundle, whole or not at all; equal inputs give equal bytes.

    Args:
        path: Its folder, `NAME.cmc`, which must not exist yet.
        manifest_fields: Every field of `Manifest` but `schema_version` and `files`.
        files: Content by path relative to the bundle (`graphs/f32/encoder_ct.onnx`), as bytes or as a file to copy.

    Returns:
        The manifest that was written, hashes included.

    Raises:
        BundleError: A field or a path that the schema refuses, or a graph whose file is not among `files`.
        InputError: `path` exists already, or its parent does not.
        ResourceError: The disk is full.
    """
    name = str(path)
    for key in ("files", "schema_version"):
        if key in manifest_fields:
            raise BundleError(f"{name}: {key} is not for the caller to set", mend=f"leave {key} out")
    check_paths(files, name=name)
    with atomic_directory(path) as folder:
        entries = [_write_file(folder, relpath, files[relpath]) for relpath in sorted(files)]
        data = _manifest_bytes({**manifest_fields, "files": tuple(entries)}, name=name)
        manifest = parse_manifest(data, name=f"{name}/{MANIFEST}")
        with open(folder / MANIFEST, "xb") as target:
            target.write(data)
            _flush(target)
        open_bundle(folder)
    return manifest


def _manifest_bytes(fields: Mapping[str, Any], *, name: str) -> bytes:
    try:
        manifest = Manifest.model_validate({"schema_version": SCHEMA_VERSION, **fields})
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise BundleError(f"{name}: the manifest breaks its schema: {'; '.join(faults)}", mend="mend them") from error
    try:
        # Before pydantic dumps it, since that would silently turn a NaN in this free table into null.
        json.dumps(manifest.provenance, allow_nan=False)
        text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode("utf-8")
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"{name}: the manifest cannot be written as JSON ({error})",
            mend="put only finite numbers, text, lists and tables in it; leave out what was not measured, or give None",
        ) from error


def _write_file(folder: Path, relpath: str, content: Path | bytes) -> FileEntry:
    target_path = folder / relpath
    target_path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with open(target_path, "xb") as target:
        if isinstance(content, bytes):
            digest.update(content)
            size = target.write(content)
        else:
            try:
                source = open(content, "rb")  # noqa: SIM115 - closed below; only opening is to be guarded here
            except OSError as error:
                raise BundleError(
                    f"{content}, meant for {relpath}, cannot be read: {error.strerror}", mend="check the path"
                ) from error
            with source:
                while part := source.read(_CHUNK):
                    digest.update(part)
                    size += target.write(part)
        _flush(target)
    return FileEntry(path=relpath, size=size, sha256=digest.hexdigest())


def _flush(handle: BinaryIO) -> None:
    handle.flush()
    os.fsync(handle.fileno())
