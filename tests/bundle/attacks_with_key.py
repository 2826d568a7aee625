"""Attacks under a signature that holds: whoever has the key signs a bundle that breaks the rules of reading."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from pathlib import Path

from hypothesis import strategies as st

from cmc_sdk.bundle.manifest import SCHEMA_VERSION
from cmc_sdk.errors import BundleError
from tests.bundle.attacks import OTHERS, Draw, Refusal, _leaves, _put
from tests.bundle.examples import edit_manifest, relist
from tests.bundle.signed import write_signature


def _sign(bundle: Path, *words: str, must: bool = True) -> Refusal:
    write_signature(bundle)
    return Refusal(BundleError, words, must=must)


def another_schema(bundle: Path, draw: Draw) -> Refusal:
    version = draw(st.integers(-3, 10**6) | st.sampled_from([True, "1", None, 1.0, [1]]))
    if version == SCHEMA_VERSION and type(version) is int:
        version = 0
    edit_manifest(bundle, lambda document: document.update(schema_version=version))
    return _sign(bundle, "has schema version", "has no schema_version")


def a_path_outside(bundle: Path, draw: Draw) -> Refusal:
    name = st.text("abc", min_size=1, max_size=4)
    path = draw(
        st.sampled_from(["..", ".", "", "/etc/passwd", "C:/x", "C:x", "\\\\host\\x", "nul", "a\\b", "manifest.sig"])
        | st.tuples(st.sampled_from(["../", "a/../", "a/../../", "./", "/", "//", "a//"]), name).map("".join)
        | st.tuples(name, st.sampled_from(["/..", "/.", "/", ".", " ", "\x00", "\n", "/COM1.x", "é"])).map("".join)
    )
    if draw(st.booleans()):
        (bundle.parent / "outside").write_bytes(b"")

    def change(document):  # type: ignore[no-untyped-def]
        if draw(st.booleans()):
            document["files"].append({"path": path, "size": 0, "sha256": hashlib.sha256(b"").hexdigest()})
        else:
            document["files"][draw(st.integers(0, len(document["files"]) - 1))]["path"] = path

    edit_manifest(bundle, change)
    return _sign(bundle, "the path", "is not among the files")


def a_claimed_size(bundle: Path, draw: Draw) -> Refusal:
    name, size = draw(st.sampled_from(OTHERS)), draw(st.integers(2 << 30, 10 << 30))
    edit_manifest(bundle, lambda d: next(e for e in d["files"] if e["path"] == name).update(size=size))
    if draw(st.booleans()):
        os.truncate(bundle / name, size)
    return _sign(bundle, "less than 2 GiB")


def a_key_twice(bundle: Path, draw: Draw) -> Refusal:
    text = (bundle / "manifest.json").read_text()
    places = [at for at, letter in enumerate(text) if letter == "{" and text[at + 1 :].lstrip()[0] == '"']
    at = draw(st.sampled_from(places))
    key = json.JSONDecoder().raw_decode(text[at + 1 :].lstrip())[0]
    value = draw(st.sampled_from(["1", "null", '"x"', "[]", "{}"]))
    (bundle / "manifest.json").write_text(f"{text[: at + 1]}{json.dumps(key)}: {value}, {text[at + 1 :]}")
    return _sign(bundle, "twice")


def nested_deep(bundle: Path, draw: Draw) -> Refusal:
    depth = draw(st.integers(33, 300) | st.integers(10**4, 10**6))
    kind = draw(st.sampled_from(["[]", "{}", "open"]))
    opening, closing = ('{"a":', "}") if kind == "{}" else ("[", "]" if kind == "[]" else "")
    nest = opening * depth + ("1" if kind == "{}" else "") + closing * depth
    name = draw(st.sampled_from(["manifest.json", "parity.json", "golden/golden.json"]))
    text = (bundle / name).read_text()
    (bundle / name).write_text(text.replace("{", f'{{"surprise": {nest}, ', 1))
    if name != "manifest.json":
        relist(bundle, name)
    return _sign(bundle, "deep")


def no_json(bundle: Path, draw: Draw) -> Refusal:
    text = (bundle / "manifest.json").read_text()
    words = st.sampled_from(["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, '"\\ud800"', "01", "+1", "'x'", "1,"])
    word = draw(words)
    content = text.replace('"provenance": {', f'"provenance": {{"x": {word}, ').encode()
    content = draw(st.sampled_from([content, text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode(), b"", b"[]", b"0"]))
    (bundle / "manifest.json").write_bytes(content)
    return _sign(bundle, "is refused", "is not a bundle's manifest")


def a_long_manifest(bundle: Path, draw: Draw) -> Refusal:
    size = draw(st.sampled_from([17 << 20, 40 << 20]))
    with open(bundle / "manifest.json", "ab") as handle:
        handle.write(b" " * size)
    return _sign(bundle, "more than")


def any_value_of_the_manifest(bundle: Path, draw: Draw) -> Refusal:
    _put(bundle, draw)
    return _sign(bundle, "manifest.json", "victim.cmc", must=False)


def hostile_json_elsewhere(bundle: Path, draw: Draw) -> Refusal:
    name = draw(st.sampled_from(["parity.json", "golden/golden.json"]))
    text = (bundle / name).read_text()
    contents = [text.replace("{", '{"a": 1, "a": 2, ', 1), text.replace("{", '{"a": NaN, ', 1), "", "[", text + "x"]
    (bundle / name).write_text(draw(st.sampled_from(contents)))
    relist(bundle, name)
    return _sign(bundle, name)


def figures_that_are_none(bundle: Path, draw: Draw) -> Refusal:
    runs = {"limits": {"min_dice": 0.999, "max_flips": 0.0001}, "reference": "torch", "runs": []}
    wrong = draw(st.integers(1) | st.text(min_size=1) | st.just([1]) | st.just({"runs": [{}]}))
    key = draw(st.sampled_from(["limits", "runs", ""]))
    document = {"f32": {**runs, key: wrong} if key else wrong}
    (bundle / "parity.json").write_text(json.dumps(document))
    relist(bundle, "parity.json")
    return _sign(bundle, "parity.json is not what")


def any_value_elsewhere(bundle: Path, draw: Draw) -> Refusal:
    name = draw(st.sampled_from(["parity.json", "golden/golden.json"]))
    document = json.loads((bundle / name).read_text())
    path = draw(st.sampled_from(_leaves(document)))
    other = draw(st.none() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({}) | st.just("../x"))
    if path:
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = other
    else:
        document = other
    (bundle / name).write_text(json.dumps(document))
    relist(bundle, name)
    return _sign(bundle, name, "lists no file", "is not a golden volume", must=False)


def a_volume_that_unpacks_without_end(bundle: Path, draw: Draw) -> Refusal:
    name = "golden/scan.nii.gz"
    content = bytearray(gzip.decompress((bundle / name).read_bytes()))
    how = draw(st.sampled_from(["long", "claims", "cut", "noise"]))
    if how == "claims":
        content[42:48] = b"\xff\x7f" * 3  # dim[1..3] = 32767
    if how == "noise":
        at = draw(st.integers(0, 347))
        content[at] ^= 1 << draw(st.integers(0, 7))
    packed = gzip.compress(bytes(content), mtime=0)
    if how == "long":
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        parts = [
            packer.compress(content),
            *(packer.compress(bytes(1 << 20)) for _ in range(draw(st.integers(300, 400)))),
        ]
        packed = b"".join([*parts, packer.flush()])
    if how == "cut":
        packed = packed[: draw(st.integers(0, len(packed) - 1))]
    (bundle / name).write_bytes(packed)
    relist(bundle, name)
    return _sign(bundle, "is not a golden volume", must=how != "noise")


def weights_elsewhere(bundle: Path, draw: Draw) -> Refusal:
    import onnx

    name = "graphs/f32/decoder_ct.onnx"
    model = onnx.load_model_from_string((bundle / name).read_bytes())
    where = draw(st.sampled_from(["weights.bin", "../../outside", "/etc/passwd", "manifest.json", ""]))
    kind = draw(st.sampled_from(["initializer", "attribute", "function", "context"]))
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1])
    if draw(st.booleans()):
        tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=where)
    node = onnx.helper.make_node("Constant", [], ["w"], value=tensor)
    if kind == "initializer":
        model.graph.initializer.append(tensor)
    elif kind == "attribute":
        model.graph.node.append(node)
    elif kind == "function":
        opset = [onnx.helper.make_opsetid("", 18)]
        model.functions.append(onnx.helper.make_function("d", "f", [], ["w"], [node], opset))
    else:
        words = {"ep_cache_context": where, "embed_mode": 0}
        model.graph.node.append(onnx.helper.make_node("EPContext", [], ["w"], domain="com.microsoft", **words))
    (bundle / name).write_bytes(model.SerializeToString())
    relist(bundle, name)
    return _sign(bundle, "engine in another file")


def no_graph(bundle: Path, draw: Draw) -> Refusal:
    name = "graphs/f32/decoder_ct.onnx"
    noise = draw(st.binary(max_size=200))
    (bundle / name).write_bytes(noise)
    relist(bundle, name)
    return _sign(bundle, "is not a well-formed ONNX file", "in another file", must=False)


WITH_KEY = (
    another_schema, a_path_outside, a_claimed_size, a_key_twice, nested_deep, no_json, any_value_of_the_manifest,
    hostile_json_elsewhere, figures_that_are_none, any_value_elsewhere, weights_elsewhere, no_graph,
)  # fmt: skip
RARELY = (a_long_manifest, a_volume_that_unpacks_without_end)
