"""The published schema is the one that the code holds to."""

from __future__ import annotations

import json
from pathlib import Path

from cmc_sdk.bundle.schema import manifest_schema
from tests.bundle.examples import make_bundle

PUBLISHED = Path(__file__).parents[2] / "docs" / "schema" / "manifest.schema.json"


def test_the_published_schema_is_current():
    assert json.loads(PUBLISHED.read_text()) == manifest_schema(), (
        "run `python -m cmc_sdk.bundle.schema > docs/schema/manifest.schema.json`"
    )


def test_a_written_manifest_has_the_schemas_keys_all_the_way_down(tmp_path):
    schema = manifest_schema()
    manifest = json.loads((make_bundle(tmp_path / "a.cmc") / "manifest.json").read_text())
    visited = []

    def check(value, rule, where):
        if "$ref" in rule:
            rule = schema["$defs"][rule["$ref"].removeprefix("#/$defs/")]
        if "anyOf" in rule:
            options = [option for option in rule["anyOf"] if (option.get("type") == "null") == (value is None)]
            return check(value, options[0], where)
        visited.append(where)
        if "properties" in rule:
            assert rule["additionalProperties"] is False
            assert set(rule.get("required", ())) <= set(value) <= set(rule["properties"]), where
            for key, item in value.items():
                check(item, rule["properties"][key], f"{where}.{key}")
        elif rule.get("type") == "array":
            for index, item in enumerate(value):
                check(item, rule["prefixItems"][index] if "prefixItems" in rule else rule["items"], f"{where}[{index}]")
        if "const" in rule:
            assert value == rule["const"], where
        if "enum" in rule:
            assert value in rule["enum"], where

    check(manifest, schema, "manifest")
    assert "manifest.spec.grid.window_vox[2]" in visited
    assert schema["properties"]["schema_version"]["const"] == 1
