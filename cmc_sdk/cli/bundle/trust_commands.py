"""`cmc bundle trust`: the keys whose bundles may run, those that are revoked, and the oldest versions."""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cmc_sdk.cli.terminal.console import emit_json, json_option, stdout
from cmc_sdk.cli.terminal.tables import text_table

if TYPE_CHECKING:
    from cmc_sdk.bundle.trust import TrustStore

EPILOG = """\b
Examples:
  cmc bundle trust add trust.json vendor.key.pub --owner "Vendor, release key 2026" --until 2028-12-31
  cmc bundle trust require trust.json liver 1.2
  cmc bundle trust revoke trust.json 4f1c0d9a2b7e6385 --reason "laptop stolen"
  cmc bundle trust show trust.json
"""
_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.group(epilog=EPILOG)
def trust() -> None:
    """Keep a trust store: whose bundles may run, whose may not, and no older ones than these."""


@trust.command(epilog='Example: cmc bundle trust add trust.json vendor.key.pub --owner "Vendor, release key 2026"')
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("public_key", type=click.Path(path_type=Path))
@click.option("--owner", default="", help="Who holds the private key, in words.")
@click.option("--from", "valid_from", type=_DAY, help="First day (UTC) on which its bundles run.  [default: no bound]")
@click.option("--until", "valid_until", type=_DAY, help="Last day (UTC) on which they do.  [default: no bound]")
@json_option
def add(
    store: Path,
    public_key: Path,
    owner: str,
    valid_from: datetime | None,
    valid_until: datetime | None,
    as_json: bool,
) -> None:
    """Let bundles run that are signed with PUBLIC_KEY; STORE is made if it does not exist."""
    from cmc_sdk.bundle.keys import read_public_key
    from cmc_sdk.bundle.trust import TrustStore, read_trust_store
    from cmc_sdk.bundle.trust_edit import add_key

    known = read_trust_store(store) if os.path.lexists(store) else TrustStore()
    key = read_public_key(public_key)
    changed = add_key(known, key, owner=owner, valid_from=_day(valid_from), valid_until=_day(valid_until))
    _save(changed, store, line=f"{store}: bundles of key {key.key_id} may run", as_json=as_json)


@trust.command(epilog='Example: cmc bundle trust revoke trust.json 4f1c0d9a2b7e6385 --reason "laptop stolen"')
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("key_id")
@click.option("--reason", default="", help="Shown to whoever tries to run a bundle of this key.")
@json_option
def revoke(store: Path, key_id: str, reason: str, as_json: bool) -> None:
    """Let no bundle run any more that is signed with the key KEY_ID, in STORE or not."""
    from cmc_sdk.bundle.trust import read_trust_store
    from cmc_sdk.bundle.trust_edit import revoke_key

    changed = revoke_key(read_trust_store(store), key_id, reason=reason)
    _save(changed, store, line=f"{store}: key {key_id} is revoked", as_json=as_json)


@trust.command(epilog="Example: cmc bundle trust require trust.json liver 1.2")
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("name")
@click.argument("version")
@json_option
def require(store: Path, name: str, version: str, as_json: bool) -> None:
    """Let no bundle called NAME run that is older than VERSION."""
    from cmc_sdk.bundle.trust import read_trust_store
    from cmc_sdk.bundle.trust_edit import require_version

    changed = require_version(read_trust_store(store), name, version)
    _save(changed, store, line=f"{store}: {name} must be version {version} or later", as_json=as_json)


@trust.command(epilog="Example: cmc bundle trust show trust.json")
@click.argument("store", type=click.Path(path_type=Path))
@json_option
def show(store: Path, as_json: bool) -> None:
    """Say what STORE holds."""
    from cmc_sdk.bundle.trust import read_trust_store

    known = read_trust_store(store)
    if as_json:
        emit_json(known.model_dump(mode="json"))
        return
    revoked = {item.key_id: item.reason for item in known.revoked}
    rows = []
    for key in known.keys:
        bounds = f"{key.valid_from or 'ever'} … {key.valid_until or 'ever'}"
        rows.append([key.key_id, bounds, _state(key.key_id, revoked), key.owner])
    listed = {key.key_id for key in known.keys}
    rows += [[key, "", _state(key, revoked), ""] for key in revoked if key not in listed]
    out = stdout()
    out.print(text_table(["key", "valid", "", "owner"], rows=rows, text_columns=4), markup=False)
    for name, version in known.min_versions.items():
        out.print(f"{name}: version {version} or later", markup=False)


def _state(key_id: str, revoked: dict[str, str]) -> str:
    if key_id not in revoked:
        return "trusted"
    return f"revoked: {revoked[key_id]}" if revoked[key_id] else "revoked"


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def _save(changed: TrustStore, store: Path, *, line: str, as_json: bool) -> None:
    from cmc_sdk.bundle.trust_edit import write_trust_store

    write_trust_store(changed, store)
    if as_json:
        emit_json(changed.model_dump(mode="json"))
    else:
        stdout().print(line, markup=False)
