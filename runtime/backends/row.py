"""What the catalogue says of one backend. Light: a row imports its library only when it is asked to do something."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from cmc_sdk.bundle.precision import GraphPrecision, Precision
    from cmc_sdk.bundle.reader import Bundle
    from cmc_sdk.runtime.backends.base import Backend

__all__ = ["BackendRow", "BackendState", "Opening", "Proof", "StatePath"]

StatePath = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Opening:
    """How a backend is to be opened.

    Args:
        precision: What it computes in; one of its row's.
        threads: Threads of the inference library; None for its own choice.
        reason: Why it was chosen, for the record.
        state: The state folder with its engines; given to a backend that has engines, and to no other.
    """

    precision: Precision = "f32"
    threads: int | None = None
    reason: str | None = None
    state: StatePath | None = None


@dataclass(frozen=True)
class BackendState:
    """One backend: whether it runs here, at which precisions, on which devices, and if not, why not."""

    usable: bool
    version: str | None
    precisions: tuple[str, ...]
    devices: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class Proof:
    """Backends over engines that wait for the gate's word.

    Args:
        backends: One for each precision that there are engines for.
        keep: To be called once they have kept the bundle's limits: notes it where their engines lie.
    """

    backends: Sequence[Backend]
    keep: Callable[[], None]


def _nothing_is_wrong() -> str | None:
    return None


def _nothing_is_lacking(precision: Precision) -> str | None:
    return None


@dataclass(frozen=True)
class BackendRow:
    """One backend, as everything knows it that lists, chooses, measures or judges backends.

    Args:
        name: What a user calls it, and what records say: lower case, digits and `-`.
        graphs: From which graphs of a bundle it computes each of its precisions; the order is that of messages.
        modules: Python modules of its library; it is installed where one of them is. The first names the package.
        install: How to get it, for messages.
        open: Makes the backend of a bundle.
        load: Imports its library: of a start of a process the part that is not ours.
        examine: What `cmc doctor` shows, given the row's precisions; None: nothing.
        ranks: Place among all backends by speed, by precision, the fastest first; `auto` and `fastest` choose by it,
            and the gate runs on it by default. A backend with none is taken by name only.
        lacks: Why this machine cannot compute one of its precisions; None: it can. Asked where it is installed.
        fault: Why a backend without ranks does not run here although it is installed; None: it runs.
        prove: Of a backend that runs engines out of a state folder: those of a bundle, of these precisions (None: of
            all), that `cmc verify` is to hold to the limits; None where the folder has no engines. It is opened with
            that folder only. None: the backend has no engines.
        path: `module:NAME` where this row stands, for a row that is not the catalogue's own: another process of ours
            takes it from there.
    """

    name: str
    graphs: Mapping[Precision, GraphPrecision]
    modules: tuple[str, ...]
    install: str
    open: Callable[[Bundle, Opening], Backend]
    load: Callable[[], None]
    examine: Callable[[tuple[Precision, ...]], BackendState | None]
    ranks: Mapping[Precision, int] = field(default_factory=dict)
    lacks: Callable[[Precision], str | None] = _nothing_is_lacking
    fault: Callable[[], str | None] = _nothing_is_wrong
    prove: Callable[[Bundle, StatePath, Collection[Precision] | None], Proof | None] | None = None
    path: str | None = None

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What it computes in."""
        return tuple(self.graphs)

    @property
    def package(self) -> str:
        """The package of its library."""
        return self.modules[0]

    @property
    def has_engines(self) -> bool:
        """Whether it runs engines out of a state folder."""
        return self.prove is not None

    @property
    def is_installed(self) -> bool:
        """Whether its library is there; nothing is imported."""
        return any(importlib.util.find_spec(module) is not None for module in self.modules)
