"""A private key as encrypted PKCS#8 in PEM, with a passphrase that is made slow to guess.

The library that reads these files writes them with 2,048 rounds of PBKDF2, which a graphics card undoes for any
passphrase that people can remember. So the envelope is written here: PBES2 (RFC 8018) with PBKDF2-HMAC-SHA256 and
AES-256-CBC, as OpenSSL and every other reader of PKCS#8 know it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["ROUNDS", "encrypted_pem"]

ROUNDS = 600_000
"""Of PBKDF2-HMAC-SHA256: about a quarter of a second for whoever knows the passphrase, and for each guess."""

_SEQUENCE, _INTEGER, _OCTETS, _NULL = 0x30, 0x02, 0x04, 0x05
# Object identifiers, already in DER.
_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA256 = bytes.fromhex("06082a864886f70d0209")
_AES_256_CBC = bytes.fromhex("060960864801650304012a")


def encrypted_pem(key: Ed25519PrivateKey, *, passphrase: str) -> bytes:
    """The key as an EncryptedPrivateKeyInfo (RFC 5958) in PEM.

    Args:
        key: To be kept.
        passphrase: Any text; its UTF-8 bytes are used.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    salt, start = secrets.token_bytes(16), secrets.token_bytes(16)
    secret = hashlib.pbkdf2_hmac("sha256", passphrase.encode("utf-8"), salt, ROUNDS, dklen=32)
    padding = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(secret), modes.CBC(start)).encryptor()
    hidden = encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()
    derivation = _der(_SEQUENCE, _PBKDF2, _der(_SEQUENCE, _der(_OCTETS, salt), _integer(ROUNDS), _named(_HMAC_SHA256)))
    cipher = _der(_SEQUENCE, _AES_256_CBC, _der(_OCTETS, start))
    scheme = _der(_SEQUENCE, _PBES2, _der(_SEQUENCE, derivation, cipher))
    body = base64.b64encode(_der(_SEQUENCE, scheme, _der(_OCTETS, hidden))).decode("ascii")
    label = "ENCRYPTED PRIVATE KEY"
    return "\n".join([f"-----BEGIN {label}-----", *textwrap.wrap(body, 64), f"-----END {label}-----", ""]).encode()


def _named(identifier: bytes) -> bytes:
    """An AlgorithmIdentifier without parameters."""
    return _der(_SEQUENCE, identifier, _der(_NULL))


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 128 | len(length)]) + length + content
