"""The published JSON Schemas: `python -m cmc_sdk.bundle.schema` prints the manifest's, or a store's with `trust`."""

from __future__ import annotations

import json
import sys
from typing import Any

from cmc_sdk.bundle.manifest import SCHEMA_VERSION, Manifest
from cmc_sdk.bundle.trust import TrustStore

__all__ = ["manifest_schema", "trust_schema"]


def manifest_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `manifest.json`, as docs/schema/manifest.schema.json holds it."""
    schema = Manifest.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": f"Manifest of a cmc bundle, schema version {SCHEMA_VERSION}",
    }


def trust_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a trust store, as docs/schema/trust-store.schema.json holds it."""
    schema = TrustStore.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "required": ["trust_version"],
        "title": "Trust store of cmc-sdk, version 1",
    }


if __name__ == "__main__":
    print(json.dumps(trust_schema() if sys.argv[1:] == ["trust"] else manifest_schema(), indent=2))
