"""A wrapper loses no ability: whatever a backend offers, `WrappedBackend` passes it on."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from cmc_sdk.runtime.backends.base import Backend
from cmc_sdk.runtime.backends.wrapped import SerialBackend, WrappedBackend
from cmc_sdk.runtime.benchmark.timed import TimedBackend
from cmc_sdk.runtime.gate.probes import ScanningBackend

METHODS = sorted(name for name, item in vars(Backend).items() if inspect.isfunction(item) and name[0] != "_")
VALUES = sorted(
    {name for name, item in vars(Backend).items() if name[0] != "_" and not inspect.isfunction(item)}
    | {name for name in Backend.__annotations__ if name[0] != "_"}
)


def make_telling() -> tuple[Backend, list[tuple[object, ...]]]:
    """A backend that answers everything with the name of what it was asked, and what its methods were called with."""
    calls: list[tuple[object, ...]] = []

    def answering(name: str) -> Callable[..., str]:
        def method(self: Backend, *given: object, **named: object) -> str:
            calls.append((name, given, named))
            return f"told {name}"

        return method

    members: dict[str, object] = {name: answering(name) for name in METHODS}
    members |= {name: f"told {name}" for name in VALUES}
    return type("Telling", (Backend,), members)(), calls


def test_every_member_is_looked_at() -> None:
    assert {"encode", "decode", "prepare", "set_streams", "graph_content"} <= set(METHODS)
    assert {"name", "precision", "modalities", "reason", "best_streams", "exact_windows", "read_seconds"} <= set(VALUES)


@pytest.mark.parametrize("name", VALUES)
def test_every_value_is_the_inner_ones(name: str) -> None:
    telling, _ = make_telling()
    assert getattr(WrappedBackend(telling), name) == f"told {name}"


@pytest.mark.parametrize("wrapper", [WrappedBackend, TimedBackend, ScanningBackend])
@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("encode", "decode")])
def test_every_call_arrives_as_it_was_made(wrapper: type[WrappedBackend], name: str) -> None:
    check_call(wrapper, name)


@pytest.mark.parametrize("name", ["encode", "decode"])
def test_windows_arrive_as_they_were_given(name: str) -> None:
    check_call(WrappedBackend, name)


def check_call(wrapper: type[WrappedBackend], name: str) -> None:
    telling, calls = make_telling()
    signature = inspect.signature(getattr(Backend, name))
    own = [item for item in signature.parameters.values() if item.name != "self"]
    given = tuple(object() for item in own if item.kind is not item.KEYWORD_ONLY)
    named = {item.name: object() for item in own if item.kind is item.KEYWORD_ONLY}
    answer = getattr(wrapper(telling), name)(*given, **named)
    assert calls == [(name, given, named)]
    assert answer == (None if signature.return_annotation == "None" else f"told {name}")


def test_one_that_is_called_once_at_a_time_leaves_the_inner_ones_streams_alone() -> None:
    telling, calls = make_telling()
    serial = SerialBackend(telling)
    serial.set_streams(1)
    assert serial.best_streams == 1
    assert calls == []
