"""The run record: what it holds, what it must never hold, and its published schema."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cmc_sdk import Volume, read_volume, write_volume
from cmc_sdk.runtime.results.record import BundleIdentity, RunRecord, hash_volume, record_schema
from cmc_sdk.runtime.segmenter import Segmenter
from tests.runtime.stubs import StubBackend, blob_scan, make_spec

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
PUBLISHED = Path(__file__).parents[3] / "docs" / "schema" / "run-record.schema.json"


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> RunRecord:
    folder = tmp_path_factory.mktemp("Doe^John")
    path = folder / "DOE_JOHN_19700101.nii.gz"
    write_volume(blob_scan(AFFINE, (20, 20, 20)), path)
    identity = BundleIdentity(name="tiny", version="1", manifest_sha256="0" * 64)
    segmenter = Segmenter(make_spec(), StubBackend(), identity=identity)
    # Different grids: the warning must not name the files either.
    return segmenter.infer({"ct": path, "mr": replace(blob_scan(AFFINE, (18, 20, 20)), name=str(path))}).record


def test_the_record_says_what_ran(record):
    assert (record.backend, record.precision) == ("stub", "f32")
    assert record.presence == {"ct": True, "mr": True}
    assert record.bundle is not None
    assert record.bundle.name == "tiny"
    assert record.inputs["ct"].size_vox == (20, 20, 20)
    assert record.inputs["ct"].affine_mm == tuple(map(tuple, AFFINE.tolist()))
    assert record.time_utc.endswith("+00:00")
    assert {"read", "statistics", "sample", "encode", "decode", "blend", "finalise"} <= set(record.seconds)
    assert all(seconds >= 0 for seconds in record.seconds.values())
    assert record.windows_run > 0


def test_the_record_names_no_file_and_no_patient(record):
    text = json.dumps(record.to_dict())
    assert record.warnings
    for word in ("DOE", "Doe", "JOHN", "19700101", ".nii", "/"):
        if word != "/":
            assert word not in text
    assert str(Path.home()) not in text


def test_what_the_reader_noted_is_a_warning():
    volume = replace(blob_scan(AFFINE, (18, 18, 18)), notes=("its sform and qform differ; the sform is used",))
    warnings = Segmenter(make_spec(), StubBackend()).infer({"mr": volume}).record.warnings
    assert warnings == ("mr: its sform and qform differ; the sform is used",)


def test_notes_of_a_file_do_not_name_it(tmp_path):
    image = nib.Nifti1Image(np.zeros((8, 8, 8), np.int16), AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] = 5.0
    image.set_sform(AFFINE, code=1)
    image.set_qform(moved, code=1)
    nib.save(image, tmp_path / "DOE_JOHN.nii")
    (note,) = read_volume(tmp_path / "DOE_JOHN.nii").notes
    assert "DOE" not in note


def test_the_record_goes_round_as_json(record):
    assert RunRecord.model_validate_json(json.dumps(record.to_dict())) == record


def test_the_record_fits_its_schema(record):
    schema = record_schema()
    value = record.to_dict()
    assert check(value, schema, schema["$defs"]) == []
    assert check({**value, "patient": "x"}, schema, schema["$defs"])
    assert check({**value, "windows_run": "many"}, schema, schema["$defs"])


def test_the_published_schema_is_current():
    assert json.loads(PUBLISHED.read_text()) == record_schema(), (
        "run `python -m cmc_sdk.runtime.results.record > docs/schema/run-record.schema.json`"
    )


def check(value, schema, definitions) -> list[str]:
    """Faults of `value`, by the few words of JSON Schema that the record's schema uses."""
    known = {
        "$defs", "$ref", "$schema", "additionalProperties", "anyOf", "const", "default", "description", "enum", "items",
        "maxItems", "minItems", "pattern", "prefixItems", "properties", "required", "title", "type",
    }  # fmt: skip
    assert set(schema) <= known, set(schema) - known
    if "$ref" in schema:
        return check(value, definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    if "anyOf" in schema:
        return [] if any(not check(value, item, definitions) for item in schema["anyOf"]) else [f"{value!r}: none fits"]
    kinds = {
        "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "array": list,
        "object": dict,
    }  # fmt: skip
    if "type" in schema and not isinstance(value, kinds[schema["type"]]):
        return [f"{value!r} is no {schema['type']}"]
    if "const" in schema and value != schema["const"]:
        return [f"{value!r} is not {schema['const']!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{value!r} is none of {schema['enum']}"]
    faults = []
    if isinstance(value, dict):
        properties, extra = schema.get("properties", {}), schema.get("additionalProperties", True)
        faults += [f"{name} is missing" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            if name in properties:
                faults += check(item, properties[name], definitions)
            elif extra is False:
                faults.append(f"{name} is not known")
            elif isinstance(extra, dict):
                faults += check(item, extra, definitions)
    if isinstance(value, list):
        prefix = schema.get("prefixItems", [])
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            faults.append(f"{len(value)} items")
        for index, item in enumerate(value):
            rule = prefix[index] if index < len(prefix) else schema.get("items", {})
            faults += check(item, rule, definitions)
    return faults


@pytest.mark.parametrize("dtype", ["int16", ">i2", "float32", "uint8"])
def test_the_hash_is_of_the_voxels_in_the_order_of_a_file(dtype):
    array = np.random.default_rng(0).integers(0, 100, (5, 6, 7)).astype(dtype)
    little = array.astype(np.dtype(dtype).newbyteorder("<"))
    expected = hashlib.sha256(little.tobytes(order="F")).hexdigest()
    for layout in ("C", "F"):
        assert hash_volume(Volume(np.asarray(array, order=layout), np.eye(4))) == expected


def test_one_voxel_changes_the_hash():
    array = np.zeros((5, 6, 7), np.int16)
    before = hash_volume(Volume(array, np.eye(4)))
    array[4, 5, 6] = 1
    assert hash_volume(Volume(array, np.eye(4))) != before


def test_reading_a_file_keeps_the_hash(tmp_path):
    volume = blob_scan(AFFINE, (8, 9, 10))
    write_volume(volume, tmp_path / "a.nii.gz")
    assert hash_volume(read_volume(tmp_path / "a.nii.gz")) == hash_volume(volume)
