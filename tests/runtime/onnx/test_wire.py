"""What onnx's own protobuf writes is read back field by field; what is cut off or malformed is refused by name."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_sdk.errors import BundleError
from cmc_sdk.runtime.onnx.external import refuse_external_data
from cmc_sdk.runtime.onnx.facts import read_facts
from cmc_sdk.runtime.onnx.wire import Field, WireError, as_message, as_number, as_text, fields_of

onnx = pytest.importorskip("onnx")


class Descriptor(Protocol):
    name: str
    number: int


@runtime_checkable
class Message(Protocol):
    """What protobuf's own classes offer."""

    def ListFields(self) -> list[tuple[Descriptor, object]]: ...

    def SerializeToString(self) -> bytes: ...


TEXTS = st.text(max_size=200)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(width=32, allow_nan=False)


@st.composite
def tensors(draw: st.DrawFn) -> Message:
    message: Message = onnx.TensorProto(
        dims=draw(st.lists(INTEGERS, max_size=4)),
        data_type=draw(st.integers(0, 16)),
        name=draw(TEXTS),
        raw_data=draw(st.binary(max_size=300)),
        float_data=draw(st.lists(FLOATS, max_size=20)),
    )
    return message


@st.composite
def attributes(draw: st.DrawFn) -> Message:
    message: Message = onnx.AttributeProto(
        name=draw(TEXTS),
        f=draw(FLOATS),
        i=draw(INTEGERS),
        s=draw(st.binary(max_size=20)),
        ints=draw(st.lists(INTEGERS, max_size=4)),
        floats=draw(st.lists(FLOATS, max_size=4)),
        strings=draw(st.lists(st.binary(max_size=5), max_size=3)),
        t=draw(tensors()),
    )
    return message


@st.composite
def models(draw: st.DrawFn) -> Message:
    nodes = [
        onnx.NodeProto(op_type=draw(TEXTS), input=draw(st.lists(TEXTS, max_size=2)), attribute=[draw(attributes())])
        for _ in range(draw(st.integers(0, 2)))
    ]
    graph = onnx.GraphProto(name=draw(TEXTS), node=nodes, initializer=draw(st.lists(tensors(), max_size=2)))
    message: Message = onnx.ModelProto(ir_version=draw(INTEGERS), producer_name=draw(TEXTS), graph=graph)
    return message


def check(found: list[tuple[int, Field]], message: Message) -> None:
    """Every field that is set, in the order of their numbers; single floats are skipped, packed ones are bytes."""
    left = list(found)
    for descriptor, value in message.ListFields():
        items: list[object] = [value]
        if isinstance(value, Iterable) and not isinstance(value, str | bytes):
            items = list(value)
        if descriptor.name == "float_data":
            number, read = left.pop(0)
            assert number == descriptor.number
            assert as_message(read) == struct.pack(f"<{len(items)}f", *items)
            continue
        for item in items:
            if isinstance(item, float):
                continue
            number, read = left.pop(0)
            assert number == descriptor.number
            if isinstance(item, str):
                assert as_text(read) == item
            elif isinstance(item, bytes):
                assert as_message(read) == item
            elif isinstance(item, int):
                assert as_number(read) == item % 2**64
            else:
                assert isinstance(item, Message)
                check(list(fields_of(as_message(read))), item)
    assert left == []


@given(message=st.one_of(models(), attributes(), tensors()))
def test_what_protobuf_writes_is_read_back_field_by_field(message: Message) -> None:
    check(list(fields_of(memoryview(message.SerializeToString()))), message)


@given(message=st.one_of(models(), tensors()), data=st.data())
def test_of_a_message_that_is_cut_off_only_whole_fields_are_read(message: Message, data: st.DataObject) -> None:
    content = message.SerializeToString()
    whole = list(fields_of(memoryview(content)))
    cut = memoryview(content)[: data.draw(st.integers(0, len(content)))]
    read = []
    try:
        for field in fields_of(cut):
            read.append(field)
    except WireError:
        assert len(cut) < len(content)
    assert read == whole[: len(read)]


@pytest.mark.parametrize(
    "message",
    [
        onnx.TensorProto(name="a" * 300),
        onnx.ModelProto(ir_version=2**40),
        onnx.AttributeProto(f=1.5),
        onnx.TensorProto(float_data=[0.5, 1.5]),
    ],
)
def test_a_field_that_is_cut_off_anywhere_is_refused(message: Message) -> None:
    content = message.SerializeToString()
    for end in range(1, len(content)):
        with pytest.raises(WireError, match=r"longer than what holds it|the end lies within a number"):
            list(fields_of(memoryview(content)[:end]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bytes([1 << 3 | 3]), "wire type 3 is not known"),
        (bytes([1 << 3 | 7]), "wire type 7 is not known"),
        (bytes([1 << 3, *[128] * 10, 1]), "a number is too long"),
        (bytes([1 << 3 | 2, *[255] * 9, 1]), "longer than what holds it"),
        (bytes([1 << 3 | 1, *[0] * 7]), "longer than what holds it"),
    ],
)
def test_what_is_no_message_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        list(fields_of(memoryview(content)))


def test_a_field_of_another_kind_than_expected_is_refused() -> None:
    with pytest.raises(WireError, match="a number stands where a message belongs"):
        as_message(7)
    with pytest.raises(WireError, match="a number stands where a message belongs"):
        as_text(7)
    with pytest.raises(WireError, match="a message stands where a number belongs"):
        as_number(memoryview(b"7"))
    with pytest.raises(WireError, match="not UTF-8"):
        as_text(memoryview(b"\xff"))


@given(content=st.one_of(st.binary(max_size=60), models().map(lambda model: model.SerializeToString()[:-1])))
@pytest.mark.parametrize("read", [refuse_external_data, read_facts])
def test_whatever_the_bytes_are_a_file_is_read_or_refused_by_its_name(
    read: Callable[..., object], content: bytes
) -> None:
    fault = ""
    try:
        read(content, name="graph.onnx")
    except BundleError as error:
        fault = str(error)
    assert fault == "" or fault.startswith("graph.onnx ")
