"""Changing a trust store: each change gives a new store, and a file is replaced whole or not at all."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

from pydantic import ValidationError

from cmc_sdk.atomic import atomic_file
from cmc_sdk.bundle.keys import PublicKey
from cmc_sdk.bundle.trust import RevokedKey, TrustedKey, TrustStore
from cmc_sdk.errors import InputError

__all__ = ["add_key", "require_version", "revoke_key", "write_trust_store"]


def add_key(
    store: TrustStore,
    key: PublicKey,
    *,
    owner: str = "",
    valid_from: date | None = None,
    valid_until: date | None = None,
) -> TrustStore:
    """The store with one more key.

    Args:
        store: To start from.
        key: Whose bundles may run from now on.
        owner: Who holds the private half, in words.
        valid_from: First day (UTC); None: no bound.
        valid_until: Last day (UTC); None: no bound.

    Raises:
        InputError: It holds the key already, has revoked it, or the bounds are the wrong way round.
    """
    if any(item.key_id == key.key_id for item in store.revoked):
        raise InputError(f"key {key.key_id} is revoked in this store", mend="trust another key of the same owner")
    if any(item.key_id == key.key_id for item in store.keys):
        raise InputError(f"key {key.key_id} is in this store already", mend="nothing needs to be done")
    try:
        entry = TrustedKey(
            key_id=key.key_id, public_key=key.raw.hex(), owner=owner, valid_from=valid_from, valid_until=valid_until
        )
        return TrustStore(keys=(*store.keys, entry), revoked=store.revoked, min_versions=store.min_versions)
    except ValidationError as error:
        raise InputError(error.errors()[0]["msg"].removeprefix("Value error, "), mend="mend it") from error


def revoke_key(store: TrustStore, key_id: str, *, reason: str = "") -> TrustStore:
    """The store that runs no bundle of a key any more; the key need not be in it.

    Raises:
        InputError: `key_id` is no id of a key, or is revoked already.
    """
    if any(item.key_id == key_id for item in store.revoked):
        raise InputError(f"key {key_id} is revoked already", mend="nothing needs to be done")
    try:
        entry = RevokedKey(key_id=key_id, reason=reason)
    except ValidationError as error:
        raise InputError(
            f"{key_id!r} is no id of a key, or the reason is longer than 200 characters",
            mend="give the 16 hex digits that `cmc bundle trust show STORE` lists",
        ) from error
    return TrustStore(keys=store.keys, revoked=(*store.revoked, entry), min_versions=store.min_versions)


def require_version(store: TrustStore, name: str, version: str) -> TrustStore:
    """The store that runs no older version of the bundles called `name`; see `TrustStore.check_version`."""
    versions = {**store.min_versions, name: version}
    return TrustStore(keys=store.keys, revoked=store.revoked, min_versions=dict(sorted(versions.items())))


def write_trust_store(store: TrustStore, path: str | os.PathLike[str]) -> None:
    """Write a store over `path`, whole or not at all.

    Raises:
        InputError: The folder does not exist, or `path` is a link.
        ResourceError: It cannot be written.
    """
    target = Path(path)
    if target.is_symlink():
        raise InputError(f"{target} is a link, which is not followed", mend="give the file itself")
    text = json.dumps(store.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    with atomic_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
