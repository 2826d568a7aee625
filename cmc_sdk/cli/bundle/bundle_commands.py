"""`cmc bundle`: sign a bundle, and check who signed one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from cmc_sdk.cli.bundle.trust_commands import trust
from cmc_sdk.cli.options.trust_options import chosen_trust, trust_options
from cmc_sdk.cli.terminal.console import emit_json, json_option, progress_bar, stdout
from cmc_sdk.environment import secret
from cmc_sdk.errors import InputError

replace_option = click.option("--replace", is_flag=True, help="Take the place of a signature that is there already.")


@click.group()
def command() -> None:
    """Sign a bundle, check one, and keep the keys whose bundles may run."""


command.add_command(trust)


def passphrase_options(function: Callable[..., object]) -> Callable[..., object]:
    """Add `--passphrase-file` and `--passphrase-env`; a passphrase itself is never a word of the command line."""
    file = click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path),
        help="Its first line is the passphrase; only you may be able to read it.  [default: ask]",
    )
    variable = click.option(
        "--passphrase-env", metavar="NAME", help="The environment variable that holds the passphrase.  [default: ask]"
    )
    return file(variable(function))


@command.command(epilog="Example: cmc bundle keygen -o vendor.key")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The private key to write.")
@passphrase_options
@json_option
def keygen(output: Path, passphrase_file: Path | None, passphrase_env: str | None, as_json: bool) -> None:
    """Make an Ed25519 key: the private half at OUTPUT, encrypted, and OUTPUT.pub for everyone."""
    from cmc_sdk.bundle.keys import make_keys

    secret = _passphrase(passphrase_file, passphrase_env, confirm=True)
    key = make_keys(output, passphrase=secret)
    if as_json:
        emit_json({"key_id": key.public.key_id, "private": str(output), "public": f"{output}.pub"})
        return
    stdout().print(f"key {key.public.key_id}", markup=False)
    stdout().print(f"{output}: the private key, encrypted; keep it where only you can read it", markup=False)
    stdout().print(f"{output}.pub: the public key, for whoever runs your bundles", markup=False)


@command.command(epilog="Example: cmc bundle sign liver.cmc --key vendor.key")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="The private key of `cmc bundle keygen`.")
@passphrase_options
@replace_option
@json_option
def sign(
    bundle: Path, key: Path, passphrase_file: Path | None, passphrase_env: str | None, replace: bool, as_json: bool
) -> None:
    """Sign BUNDLE, once every file has been found to be the one that its manifest lists."""
    from cmc_sdk.bundle.keys import read_private_key
    from cmc_sdk.bundle.signing import sign_bundle

    opened = read_private_key(key, passphrase=_passphrase(passphrase_file, passphrase_env, confirm=False))
    with progress_bar(quiet=as_json) as progress:
        signature = sign_bundle(bundle, key=opened, replace=replace, progress=progress)
    _report_signature(bundle, signature.key_id, as_json=as_json)


@command.command(epilog="Example: cmc bundle check liver.cmc --trust trust.json")
@click.argument("bundle", type=click.Path(path_type=Path))
@trust_options
@json_option
def check(bundle: Path, trust: Path | None, development: bool, as_json: bool) -> None:
    """Check the signature of BUNDLE and the hash of every file; labels nothing."""
    from cmc_sdk.bundle.reader import open_bundle
    from cmc_sdk.bundle.trust import require_trust

    opened = open_bundle(bundle, policy=require_trust(chosen_trust(trust, development=development)))
    with progress_bar(quiet=as_json) as progress:
        opened.verify_all(progress=lambda _, done, total: progress("hashes", done, total))
    manifest, verdict = opened.manifest, opened.verdict
    key_id = None if verdict is None else verdict.key_id
    note = "" if verdict is None else verdict.note
    if as_json:
        emit_json(
            {
                "bundle": f"{manifest.name} {manifest.version}",
                "manifest_sha256": opened.manifest_sha256,
                "files": len(manifest.files),
                "key_id": key_id,
                "trust": note,
            }
        )
        return
    out = stdout()
    out.print(f"{manifest.name} {manifest.version}: {len(manifest.files)} files have the right hash", markup=False)
    out.print(f"signed by key {key_id}, which is trusted" if key_id else note, markup=False)


@command.command(epilog="Example: cmc bundle digest liver.cmc -o liver.tosign")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="A new file for the bytes to sign; - for standard output.",
)
@json_option
def digest(bundle: Path, output: Path, as_json: bool) -> None:
    """Write the exact bytes that a hardware module has to sign for BUNDLE, once all its files are found right.

    They are "cmc-bundle-v1", a zero byte and manifest.json. Sign them with plain Ed25519, without a prehash.
    """
    import hashlib

    from cmc_sdk.atomic import atomic_file
    from cmc_sdk.bundle.signing import bundle_message

    if str(output) == "-":
        if as_json:
            raise InputError("--json and -o - would mix on standard output", mend="name a file with -o")
        sys.stdout.buffer.write(bundle_message(bundle))
        return
    if os.path.lexists(output):
        raise InputError(f"{output} exists already", mend="remove it or choose another name")
    with progress_bar(quiet=as_json) as progress:
        message = bundle_message(bundle, progress=progress)
    with atomic_file(output) as target:
        target.write_bytes(message)
    sha256 = hashlib.sha256(message).hexdigest()
    if as_json:
        emit_json({"file": str(output), "bytes": len(message), "sha256": sha256})
        return
    stdout().print(f"{output}: {len(message)} bytes to sign, sha256 {sha256}", markup=False)


@command.command(
    "attach-signature",
    epilog="Example: cmc bundle attach-signature liver.cmc --signature liver.raw --public-key vendor.key.pub",
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--signature", required=True, type=click.Path(path_type=Path), help="A file of the 64 raw bytes.")
@click.option("--public-key", required=True, type=click.Path(path_type=Path), help="Of the key that signed, in PEM.")
@replace_option
@json_option
def attach(bundle: Path, signature: Path, public_key: Path, replace: bool, as_json: bool) -> None:
    """Put a signature that a hardware module made into BUNDLE, once it has been verified."""
    from cmc_sdk.bundle.keys import read_public_key
    from cmc_sdk.bundle.plain_file import read_plain
    from cmc_sdk.bundle.signing import attach_signature

    raw = read_plain(signature, max_bytes=64, error=InputError, mend="give the 64 raw bytes of an Ed25519 signature")
    public = read_public_key(public_key)
    with progress_bar(quiet=as_json) as progress:
        made = attach_signature(bundle, signature=raw, public=public, replace=replace, progress=progress)
    _report_signature(bundle, made.key_id, as_json=as_json)


def _report_signature(bundle: Path, key_id: str, *, as_json: bool) -> None:
    if as_json:
        emit_json({"bundle": str(bundle), "key_id": key_id, "signature": str(bundle / "manifest.sig")})
    else:
        stdout().print(f"{bundle} is signed by key {key_id}", markup=False)


def _passphrase(file: Path | None, variable: str | None, *, confirm: bool) -> str:
    """From a file, from the environment, or asked for; never from the command line, where other users can read it."""
    from cmc_sdk.bundle.keys import read_passphrase

    if file is not None and variable is not None:
        raise InputError("--passphrase-file and --passphrase-env contradict each other", mend="give one of them")
    if file is not None:
        return read_passphrase(file)
    if variable is not None:
        found = secret(variable)
        if found is None:
            raise InputError(f"the environment variable {variable} is not set", mend="set it, or let cmc ask")
        return found
    if not sys.stdin.isatty():
        raise InputError(
            "nobody can be asked for the passphrase here", mend="give --passphrase-file or --passphrase-env"
        )
    answer: str = click.prompt("passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return answer
