"""The bundle `NAME.cmc/`: manifest, files and hashes."""

from __future__ import annotations

from cmc_sdk.bundle.manifest import Manifest, ModelSpec
from cmc_sdk.bundle.reader import Bundle, open_bundle
from cmc_sdk.bundle.strict_json import parse_json
from cmc_sdk.bundle.writer import write_bundle

__all__ = ["Bundle", "Manifest", "ModelSpec", "open_bundle", "parse_json", "write_bundle"]
