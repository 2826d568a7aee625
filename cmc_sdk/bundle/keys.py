"""Ed25519 keys: their ids, and the files that hold the public and the private half."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cmc_sdk.bundle.pkcs8 import encrypted_pem
from cmc_sdk.bundle.plain_file import open_plain, read_plain
from cmc_sdk.errors import InputError, ResourceError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "MIN_PASSPHRASE",
    "PrivateKey",
    "PublicKey",
    "key_id",
    "make_keys",
    "read_passphrase",
    "read_private_key",
    "read_public_key",
]

MIN_PASSPHRASE = 12
"""Characters that a passphrase has at least."""

_MAX_BYTES = 16 << 10
_PUBLIC_MEND = "give the .pub file that `cmc bundle keygen` wrote, or another Ed25519 public key in PEM"
_PRIVATE_MEND = "give the private key that `cmc bundle keygen` wrote"


def key_id(public: bytes) -> str:
    """The first 16 hex digits of the sha256 of the 32 bytes of a public key.

    It names a key in files and messages. Trust is never in it: a store holds the whole key.
    """
    return hashlib.sha256(public).hexdigest()[:16]


@dataclass(frozen=True)
class PublicKey:
    """The half that everyone may know: 32 bytes as RFC 8032 writes them."""

    raw: bytes

    @property
    def key_id(self) -> str:
        """As `key_id`."""
        return key_id(self.raw)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the holder of the private half signed exactly `message`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def to_pem(self) -> bytes:
        """As SubjectPublicKeyInfo in PEM, which OpenSSL and hardware modules read and write."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True)
class PrivateKey:
    """The half that signs; it is never printed."""

    _key: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"PrivateKey(of {self.public.key_id})"

    @property
    def public(self) -> PublicKey:
        """The other half."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return PublicKey(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, message: bytes) -> bytes:
        """Ed25519 over `message`, 64 bytes."""
        return self._key.sign(message)


def make_keys(path: str | os.PathLike[str], *, passphrase: str) -> PrivateKey:
    """Draw a new key: write the private half to `path` (mode 0600) and the public half beside it, with `.pub` added.

    Args:
        path: Of the private key; neither it nor its `.pub` may exist.
        passphrase: Encrypts the private half; at least `MIN_PASSPHRASE` characters.

    Raises:
        InputError: One of the files exists, the folder does not, or the passphrase is too short.
        ResourceError: A file cannot be written.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, public = Path(path), Path(f"{os.fspath(path)}.pub")
    if not private.parent.is_dir():
        raise InputError(f"{private}: its folder does not exist", mend=f"create {private.parent} first")
    if len(passphrase) < MIN_PASSPHRASE:
        raise InputError(
            f"the passphrase has {len(passphrase)} characters",
            mend=f"take at least {MIN_PASSPHRASE}, better a sentence",
        )
    key = PrivateKey(Ed25519PrivateKey.generate())
    files = {private: (encrypted_pem(key._key, passphrase=passphrase), 0o600), public: (key.public.to_pem(), 0o644)}
    for file in files:
        if os.path.lexists(file):
            raise InputError(f"{file} exists already; a key is never written over", mend="choose another name")
    written: list[Path] = []
    try:
        for file, (content, mode) in files.items():
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            written.append(file)
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(descriptor)
    except BaseException as error:
        for file in written:
            file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            message = f"{private} cannot be written: {error.strerror}"
            raise ResourceError(message, mend="choose another place") from error
        raise
    return key


def read_public_key(path: str | os.PathLike[str]) -> PublicKey:
    """A public key from its PEM file.

    Raises:
        InputError: It cannot be read, or is not an Ed25519 public key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    data = read_plain(path, max_bytes=_MAX_BYTES, error=InputError, mend=_PUBLIC_MEND)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path} is not a public key in PEM", mend=_PUBLIC_MEND) from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} is a public key, but not of Ed25519", mend=_PUBLIC_MEND)
    return PublicKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def read_private_key(path: str | os.PathLike[str], *, passphrase: str) -> PrivateKey:
    """A private key from its encrypted PKCS#8 PEM file.

    Raises:
        InputError: It cannot be read, others may read it too, it is not encrypted, the passphrase is wrong, or it is
            not an Ed25519 key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read_secret(Path(path))
    if b"-----BEGIN PRIVATE KEY-----" in data:
        raise InputError(
            f"{path} is not encrypted: whoever copies it can sign", mend=f"encrypt it: openssl pkcs8 -topk8 -in {path}"
        )
    try:
        key = load_pem_private_key(data, passphrase.encode("utf-8"))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"{path} cannot be opened: the passphrase is wrong, or it is not a private key in PEM", mend=_PRIVATE_MEND
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is a private key, but not of Ed25519", mend=_PRIVATE_MEND)
    return PrivateKey(key)


def read_passphrase(path: str | os.PathLike[str]) -> str:
    """The first line of a file that only its owner may read.

    Raises:
        InputError: It cannot be read, others may read it too, or it is empty or not UTF-8.
    """
    try:
        line = _read_secret(Path(path)).decode("utf-8").split("\n")[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8", mend="write the passphrase as plain text") from error
    if not line:
        raise InputError(f"{path} is empty", mend="write the passphrase in its first line")
    return line


def _read_secret(path: Path) -> bytes:
    """Refuse a secret that is a link, another user's, or open to others: it is no secret any more."""
    try:
        with open_plain(path.parent, path.name) as handle:
            status = os.fstat(handle.fileno())
            data = handle.read(_MAX_BYTES + 1)
    except OSError as error:
        reason = "it is a link" if path.is_symlink() else error.strerror or "it is not a plain file"
        raise InputError(f"{path} cannot be read: {reason}", mend=_PRIVATE_MEND) from error
    if os.name == "posix":
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InputError(
                f"{path} may be read by others (mode {stat.S_IMODE(status.st_mode):04o})",
                mend=f"run: chmod 600 {path}; if it lay open for long, make a new key and revoke this one",
            )
        if status.st_uid != os.geteuid():
            raise InputError(f"{path} belongs to another user", mend="sign as the user who owns the key")
    if len(data) > _MAX_BYTES:
        raise InputError(f"{path} has more than {_MAX_BYTES} bytes", mend=_PRIVATE_MEND)
    return data
