"""`manifest.sig`: who vouches for the exact bytes of manifest.json."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cmc_sdk.errors import BundleError

__all__ = ["SIGNATURE", "SIGNATURE_BYTES", "Signature", "message_of", "parse_signature"]

SIGNATURE = "manifest.sig"
# The bytes that are signed begin with this, so that no signature made for another purpose can be shown as one of these.
_PURPOSE = b"cmc-bundle-v1\0"
_FORM = re.compile(rb"cmc-signature-v1 ([0-9a-f]{16}) ([0-9a-f]{128})\n")
SIGNATURE_BYTES = len("cmc-signature-v1 ") + 16 + 1 + 128 + 1
"""Length of manifest.sig: there is one way only to write a signature."""


@dataclass(frozen=True)
class Signature:
    """Of a manifest.

    Args:
        key_id: Which key made it, as `cmc_sdk.bundle.keys.key_id` derives it.
        value: Ed25519, 64 bytes.
    """

    key_id: str
    value: bytes

    def to_bytes(self) -> bytes:
        """The content of manifest.sig: `cmc-signature-v1 KEYID SIGNATURE` and a newline, both in lower-case hex."""
        return f"cmc-signature-v1 {self.key_id} {self.value.hex()}\n".encode("ascii")


def message_of(manifest: bytes) -> bytes:
    """What is signed: `cmc-bundle-v1`, a zero byte, and the exact bytes of manifest.json."""
    return _PURPOSE + manifest


def parse_signature(data: bytes, *, name: str) -> Signature:
    """The signature that `Signature.to_bytes` wrote.

    Args:
        data: Content of the file.
        name: Of the file, for messages.

    Raises:
        BundleError: Anything else.
    """
    found = _FORM.fullmatch(data)
    if found is None:
        raise BundleError(
            f"{name} is not a signature of a bundle: it must be one line, cmc-signature-v1 KEYID SIGNATURE",
            mend="get the bundle again from whoever signed it",
        )
    return Signature(key_id=found[1].decode("ascii"), value=bytes.fromhex(found[2].decode("ascii")))
