"""What a bundle is, as one JSON document."""

from __future__ import annotations

from typing import Any

from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.bundle.strict_json import parse_json

__all__ = ["describe"]


def describe(bundle: Bundle) -> dict[str, Any]:
    """The manifest, the sha256 of its bytes, and the figures of `parity.json` (None without one), for JSON."""
    paths = {entry.path for entry in bundle.manifest.files}
    parity = parse_json(bundle.read("parity.json"), name="parity.json") if "parity.json" in paths else None
    return {
        "path": str(bundle.path),
        "manifest_sha256": bundle.manifest_sha256,
        "key_id": None if bundle.signature is None else bundle.signature.key_id,
        "trust": None if bundle.verdict is None else bundle.verdict.note,
        "manifest": bundle.manifest.model_dump(mode="json"),
        "parity": parity,
    }
