"""Keys for tests, and a store that trusts one of them."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cmc_sdk.bundle.keys import PrivateKey
from cmc_sdk.bundle.signature import message_of
from cmc_sdk.bundle.trust import TrustStore
from cmc_sdk.bundle.trust_edit import add_key

PASSPHRASE = "correct horse battery"


def make_key(seed: int) -> PrivateKey:
    """The same key for the same number; nobody's secret."""
    return PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


VENDOR, STRANGER = make_key(1), make_key(2)


def store_of(*keys: PrivateKey, **options) -> TrustStore:
    """A store that trusts `keys`."""
    store = TrustStore()
    for key in keys:
        store = add_key(store, key.public, **options)
    return store


def write_signature(bundle: Path, key: PrivateKey = VENDOR) -> None:
    """Sign the manifest as it stands, sound or not, as a careless or hostile holder of the key might."""
    value = key.sign(message_of((bundle / "manifest.json").read_bytes()))
    (bundle / "manifest.sig").write_text(f"cmc-signature-v1 {key.public.key_id} {value.hex()}\n")
