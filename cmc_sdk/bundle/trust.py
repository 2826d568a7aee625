"""Whose bundles are run: the trust store, and the explicit choice to do without one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import Field, ValidationError, model_validator

from cmc_sdk.bundle.keys import PublicKey, key_id
from cmc_sdk.bundle.plain_file import read_plain
from cmc_sdk.bundle.signature import Signature, message_of
from cmc_sdk.bundle.strict_json import parse_json
from cmc_sdk.environment import TRUST_VARIABLE, trust_store_path
from cmc_sdk.errors import InputError, TrustError
from cmc_sdk.strict_model import StrictModel

__all__ = [
    "RevokedKey",
    "Trust",
    "TrustStore",
    "TrustedKey",
    "Verdict",
    "judge_signature",
    "read_trust_store",
    "require_trust",
]

MAX_STORE_BYTES = 1 << 20
KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,7}")
_STORE_MEND = "`cmc bundle trust add STORE KEY.pub` writes one"


class TrustedKey(StrictModel):
    """A public key whose bundles are run.

    Args:
        key_id: Derived from `public_key`; written beside it for readers, and checked.
        public_key: 32 bytes in hex.
        owner: Who holds the private half, in words.
        valid_from: First day (UTC) on which its bundles are run; None: no bound.
        valid_until: Last day (UTC) on which its bundles are run; None: no bound.
    """

    key_id: KeyId
    public_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    owner: Annotated[str, Field(max_length=200)] = ""
    valid_from: date | None = None
    valid_until: date | None = None

    @model_validator(mode="after")
    def _check(self) -> TrustedKey:
        derived = key_id(bytes.fromhex(self.public_key))
        if derived != self.key_id:
            raise ValueError(f"key_id {self.key_id} is not that of its public_key, {derived}")
        if self.valid_from is not None and self.valid_until is not None and self.valid_until < self.valid_from:
            raise ValueError(f"key {self.key_id} is valid until {self.valid_until}, before {self.valid_from}")
        return self


class RevokedKey(StrictModel):
    """A key that is trusted no more, whatever else the store says; none of its bundles is run."""

    key_id: KeyId
    reason: Annotated[str, Field(max_length=200)] = ""


class TrustStore(StrictModel):
    """`trust.json`.

    Args:
        trust_version: Of this schema.
        keys: Whose bundles are run.
        revoked: Whose are not, even if listed among `keys`.
        min_versions: The oldest version that is run, by name of the bundle; a name that is not listed has no bound.
    """

    trust_version: Literal[1] = 1
    keys: Annotated[tuple[TrustedKey, ...], Field(max_length=1000)] = ()
    revoked: Annotated[tuple[RevokedKey, ...], Field(max_length=10_000)] = ()
    min_versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> TrustStore:
        for what, entries in (("keys", self.keys), ("revoked", self.revoked)):
            if len({entry.key_id for entry in entries}) != len(entries):
                raise ValueError(f"{what} lists a key twice")
        return self

    def verify(self, manifest: bytes, signature: Signature | None, *, name: str, today: date | None = None) -> str:
        """The id of the key that vouches for a manifest.

        Args:
            manifest: Its exact bytes, not yet parsed.
            signature: Of the bundle; None: it has none.
            name: Of the bundle, for messages.
            today: In UTC; None: by this machine's clock.

        Raises:
            TrustError: Unsigned, signed by a key that is unknown, revoked or out of its time, or changed since.
        """
        if signature is None:
            raise TrustError(
                f"{name} is not signed, and a trust store was given",
                mend="get a signed bundle, sign it yourself with `cmc bundle sign`, or choose development explicitly",
            )
        for revoked in self.revoked:
            if revoked.key_id == signature.key_id:
                because = f": {revoked.reason}" if revoked.reason else ""
                raise TrustError(
                    f"{name} is signed by key {revoked.key_id}, which is revoked{because}",
                    mend="get the bundle again, signed by another key",
                )
        key = next((key for key in self.keys if key.key_id == signature.key_id), None)
        if key is None:
            raise TrustError(
                f"{name} is signed by key {signature.key_id}, which is not in the trust store",
                mend="if you know whose key that is: cmc bundle trust add STORE KEY.pub",
            )
        if not PublicKey(bytes.fromhex(key.public_key)).verifies(signature.value, message_of(manifest)):
            raise TrustError(
                f"{name}: manifest.sig is no signature of key {key.key_id} over this manifest.json: one was changed",
                mend="get the bundle again from whoever signed it",
            )
        day = today or datetime.now(timezone.utc).date()
        early = key.valid_from is not None and day < key.valid_from
        if early or (key.valid_until is not None and day > key.valid_until):
            bounds = f"from {key.valid_from or 'ever'} until {key.valid_until or 'ever'}"
            raise TrustError(
                f"{name} is signed by key {key.key_id}, which is valid {bounds}; today is {day}",
                mend="get the bundle again, signed by a key that is valid, or set this machine's clock",
            )
        return key.key_id

    def check_version(self, bundle: str, version: str, *, name: str) -> None:
        """Refuse a bundle that is older than the store allows.

        Versions of one to eight whole numbers with dots between them are compared number by number, a missing one
        being 0 (1.2 = 1.2.0 < 1.10). Any other version passes only where it is the stated one, letter by letter.

        Args:
            bundle: Its name in the manifest.
            version: Its version in the manifest.
            name: Of the bundle, for messages.

        Raises:
            TrustError: It is older, or cannot be compared.
        """
        least = self.min_versions.get(bundle)
        if least is None or version == least:
            return
        numbers = [_numbers(word) for word in (version, least)]
        if numbers[0] is None or numbers[1] is None:
            raise TrustError(
                f"{name}: version {version!r} of {bundle} cannot be compared with {least!r}, the oldest that the trust "
                "store allows: both must be whole numbers with dots, as in 2.10",
                mend=f"number the versions, or name exactly this one: cmc bundle trust require STORE {bundle} VERSION",
            )
        if numbers[0] < numbers[1]:
            raise TrustError(
                f"{name}: version {version} of {bundle} is older than {least}, the oldest that the trust store allows",
                mend=f"get version {least} or later",
            )


Trust = Union[TrustStore, Literal["development"], str, "os.PathLike[str]"]
"""A trust store or its path; or `development`: whoever made the bundle is believed, and the run record says so."""


@dataclass(frozen=True)
class Verdict:
    """Why a bundle may run.

    Args:
        key_id: Of the key that vouches for it; None under the development policy.
        note: For the run record: the key's id, or `development: ...`.
    """

    key_id: str | None
    note: str


def require_trust(trust: Trust | None) -> TrustStore | Literal["development"]:
    """The policy that was chosen; where none was, that of the environment variable `CMC_TRUST`.

    Raises:
        TrustError: None was chosen, or the store cannot be used.
    """
    if isinstance(trust, TrustStore):
        return trust
    if isinstance(trust, str) and trust == "development":
        return "development"
    if trust is not None:
        return read_trust_store(trust)
    if named := trust_store_path():
        return read_trust_store(named)
    raise TrustError(
        "nobody was named whose bundles may run",
        mend=f"give the keys that you trust (--trust STORE, trust=, or {TRUST_VARIABLE}=STORE in the environment), or "
        'run without checking who made it (--development, trust="development")',
    )


def judge_signature(
    policy: TrustStore | Literal["development"], manifest: bytes, signature: Signature | None, *, name: str
) -> Verdict:
    """Whether a bundle may run, by the exact bytes of its manifest, before they are parsed.

    Raises:
        TrustError: It may not.
    """
    if isinstance(policy, TrustStore):
        signer = policy.verify(manifest, signature, name=name)
        return Verdict(key_id=signer, note=signer)
    note = "unsigned" if signature is None else f"signed by key {signature.key_id}, not checked"
    return Verdict(key_id=None, note=f"development: {note}")


def read_trust_store(path: str | os.PathLike[str]) -> TrustStore:
    """A trust store from its file, read strictly.

    Raises:
        TrustError: It is missing, a link, too long, writable by everyone, not strict JSON, or breaks its schema.
    """
    where = Path(path)
    data = read_plain(where, max_bytes=MAX_STORE_BYTES, error=TrustError, mend=_STORE_MEND, guarded=True)
    try:
        parsed: Any = parse_json(data, name=str(where), max_bytes=MAX_STORE_BYTES)
    except InputError as error:
        raise TrustError(error.what, mend="restore it from where you keep it") from error
    version = parsed.get("trust_version") if isinstance(parsed, dict) else None
    if type(version) is not int:
        raise TrustError(f"{where} is not a trust store: it has no trust_version", mend=_STORE_MEND)
    if version != 1:
        raise TrustError(f"{where} has trust version {version}; this cmc-sdk reads version 1", mend="upgrade cmc-sdk")
    try:
        return TrustStore.model_validate_json(data, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        raise TrustError(
            f"{where}: {key}: {message}" if key else f"{where}: {message}", mend="mend it; docs/signing.md shows one"
        ) from error


def _numbers(version: str) -> tuple[int, ...] | None:
    """A version as numbers without trailing zeros, or None if it is not made of them."""
    if not _VERSION.fullmatch(version):
        return None
    numbers = [int(part) for part in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
