"""The manifest's published JSON Schema: `python -m cmc_sdk.bundle.schema` prints it."""

from __future__ import annotations

import json
from typing import Any

from cmc_sdk.bundle.manifest import SCHEMA_VERSION, Manifest

__all__ = ["manifest_schema"]


def manifest_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `manifest.json`, as docs/schema/manifest.schema.json holds it."""
    schema = Manifest.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": f"Manifest of a cmc bundle, schema version {SCHEMA_VERSION}",
    }


if __name__ == "__main__":
    print(json.dumps(manifest_schema(), indent=2))
