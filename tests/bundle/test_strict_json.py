"""JSON that two parsers could understand differently is not parsed at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_sdk.bundle import parse_json
from cmc_sdk.errors import BundleError

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None)
@given(value=values, ascii_only=st.booleans())
def test_proper_json_is_parsed_as_python_does(value, ascii_only):
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8")
    assert parse_json(data, name="x") == json.loads(data)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands twice"),
        (b'{"a": 1, "\\u0061": 2}', "'a' stands twice"),
        (b"[NaN]", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "-Infinity"),
        (b"[1e999]", "beyond float64"),
        (b"[" + b"9" * 5000 + b"]", "digits"),
        (b'["\\ud800"]', "lone surrogate"),
        (b'{"\\udc00": 1}', "lone surrogate"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"{} {}", "Extra data"),
        (b"[1,]", "line 1"),
        (b"{'a': 1}", "line 1"),
        (b"[01]", "line 1"),
        (b"// no\n{}", "line 1"),
        (b'["a\nb"]', "control character"),
    ],
)
def test_refusals(data, word):
    with pytest.raises(BundleError) as caught:
        parse_json(data, name="manifest.json")
    assert "manifest.json is refused" in str(caught.value)
    assert word in str(caught.value)


@pytest.mark.parametrize(("left", "right"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_32_is_the_last(left, right):
    parse_json(left * 32 + b"1" + right * 32, name="x")
    for depth in (33, 200_000):
        with pytest.raises(BundleError, match=f"nested {depth} deep"):
            parse_json(left * depth + b"1" + right * depth, name="x")


def test_brackets_in_strings_are_not_depth():
    assert parse_json(b'["\\"' + b"[{" * 100 + b'", "\\\\"]', name="x")[1] == "\\"


def test_length():
    assert parse_json(b"[1]", name="x", max_bytes=3) == [1]
    with pytest.raises(BundleError, match="4 bytes, more than 3"):
        parse_json(b"[12]", name="x", max_bytes=3)
