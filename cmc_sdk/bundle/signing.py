"""Putting a signature into a finished bundle, made here or by a hardware module."""

from __future__ import annotations

import os
from pathlib import Path

from cmc_sdk.atomic import atomic_file
from cmc_sdk.bundle.keys import PrivateKey, PublicKey
from cmc_sdk.bundle.reader import Bundle, open_bundle
from cmc_sdk.bundle.signature import SIGNATURE, Signature, message_of
from cmc_sdk.errors import BundleError, InputError
from cmc_sdk.progress import Progress

__all__ = ["attach_signature", "bundle_message", "sign_bundle"]


def bundle_message(path: str | os.PathLike[str], *, progress: Progress | None = None) -> bytes:
    """The exact bytes to sign, for a bundle whose every file is the one that its manifest lists.

    Args:
        path: The folder `NAME.cmc`.
        progress: Called with ("hashes", done, total).

    Raises:
        BundleError: The bundle is not what its manifest says.
    """
    return message_of(_checked(path, progress=progress).manifest_bytes)


def sign_bundle(
    path: str | os.PathLike[str], *, key: PrivateKey, replace: bool = False, progress: Progress | None = None
) -> Signature:
    """Sign a bundle: `manifest.sig` is written into it, and nothing else is touched.

    Args:
        path: The folder `NAME.cmc`.
        key: Signs it.
        replace: Put it in the place of a signature that is there already.
        progress: Called with ("hashes", done, total).

    Raises:
        BundleError: The bundle is not what its manifest says, or is signed already.
        ResourceError: It cannot be written to.
    """
    bundle = _checked(path, progress=progress)
    signature = key.sign(message_of(bundle.manifest_bytes))
    return _write(bundle, signature, public=key.public, replace=replace)


def attach_signature(
    path: str | os.PathLike[str],
    *,
    signature: bytes,
    public: PublicKey,
    replace: bool = False,
    progress: Progress | None = None,
) -> Signature:
    """Put a signature that was made elsewhere into a bundle, once it has been verified.

    Args:
        path: The folder `NAME.cmc`.
        signature: Ed25519 over `bundle_message`, 64 bytes.
        public: Of the key that made it.
        replace: As for `sign_bundle`.
        progress: Called with ("hashes", done, total).

    Raises:
        InputError: It is not a signature of this bundle by this key; nothing is written.
        BundleError: As `sign_bundle`.
        ResourceError: As `sign_bundle`.
    """
    return _write(_checked(path, progress=progress), signature, public=public, replace=replace)


def _checked(path: str | os.PathLike[str], *, progress: Progress | None) -> Bundle:
    bundle = open_bundle(path)
    bundle.verify_all(progress=None if progress is None else lambda _, done, total: progress("hashes", done, total))
    return bundle


def _write(bundle: Bundle, signature: bytes, *, public: PublicKey, replace: bool) -> Signature:
    if bundle.signature is not None and not replace:
        raise BundleError(
            f"{bundle.path} is signed already, by key {bundle.signature.key_id}", mend="say --replace to sign it anew"
        )
    if len(signature) != 64:
        raise InputError(
            f"the signature has {len(signature)} bytes", mend="give the 64 raw bytes of an Ed25519 signature"
        )
    if not public.verifies(signature, message_of(bundle.manifest_bytes)):
        raise InputError(
            f"the signature is not one of key {public.key_id} over {bundle.path}",
            mend="sign the exact bytes that `cmc bundle digest` writes, with plain Ed25519 (no prehash, no context)",
        )
    made = Signature(key_id=public.key_id, value=signature)
    with atomic_file(Path(bundle.path) / SIGNATURE) as target:
        target.write_bytes(made.to_bytes())
    return made
