"""Choosing a backend and a precision: by name, or the fastest that the gate has passed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from cmc_sdk.bundle.manifest import Manifest
from cmc_sdk.bundle.precision import Precision
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.errors import BackendError, BundleError, InputError
from cmc_sdk.runtime.backends.base import Backend
from cmc_sdk.runtime.backends.catalogue import CATALOGUE, find_row, ranked_pairs
from cmc_sdk.runtime.backends.row import BackendRow, Opening

__all__ = ["PrecisionChoice", "Selection", "computable_pairs", "open_backend", "select_backend"]

PrecisionChoice = Precision | Literal["fastest"]


@dataclass(frozen=True)
class Selection:
    """What was chosen, and why in a few words."""

    backend: str
    precision: Precision
    reason: str


def computable_pairs(manifest: Manifest) -> tuple[tuple[str, Precision], ...]:
    """Every backend and precision that this machine can compute of a bundle, passed by its gate or not; the fastest
    first. Backends that are taken by name only, such as ONNX Runtime's GPU providers, are among them where they really
    run; those with engines are not.
    """
    pairs = list(ranked_pairs())
    named = [row for row in CATALOGUE.values() if not row.ranks and not row.has_engines and row.is_installed]
    pairs += [(row.name, precision) for row in named if row.fault() is None for precision in row.precisions]
    return tuple(
        (name, precision)
        for name, precision in pairs
        if CATALOGUE[name].is_installed
        and _holds(manifest, precision, rows=[CATALOGUE[name]])
        and CATALOGUE[name].lacks(precision) is None
    )


def select_backend(bundle: Bundle, *, choice: str, precision: PrecisionChoice = "f32") -> Selection:
    """Decide which backend computes `bundle`, in which precision.

    `f32` is what a user gets who asks for nothing. A faster precision is used only by name, or by `fastest`, which
    takes the fastest pair of backend and precision that kept the gate's limits when the bundle was made and that this
    machine can compute.

    Args:
        bundle: Opened.
        choice: A name of the catalogue, or `auto` for the fastest that is installed.
        precision: A name, or `fastest`.

    Raises:
        BackendError: Nothing that is installed can do it.
        BundleError: The bundle was not exported, or not passed, in this precision.
        InputError: An unknown name, or a backend that does not compute in this precision.
    """
    _require_known(choice, allowed=("auto", *CATALOGUE), what="backend")
    exact: tuple[Precision, ...] = get_args(Precision)
    _require_known(precision, allowed=(*exact, "fastest"), what="precision")
    if precision == "fastest":
        return _fastest(bundle.manifest, choice)
    if choice != "auto":
        row = find_row(choice)
        _require_gate(bundle, precision, rows=[row] if precision in row.graphs else list(CATALOGUE.values()))
        if precision not in row.graphs:
            raise InputError(
                f"{choice} does not compute in {precision}, only in {', '.join(row.precisions)}",
                mend=f"give --backend {_backends_of(precision)}",
            )
        _require_installed([row])
        return Selection(choice, precision, f"chosen by name{_unproven(bundle.manifest, choice, precision)}")
    wanted = [CATALOGUE[name] for name, known in ranked_pairs() if known == precision]
    _require_gate(bundle, precision, rows=wanted)
    _require_installed(wanted)
    # Of two that are installed the gate's word counts more than speed.
    names = sorted(
        (row.name for row in wanted if row.is_installed),
        key=lambda name: _has_passed(bundle.manifest, name, precision) is False,
    )
    others = "the only one that is installed" if len(names) == 1 else "the fastest that is installed"
    return Selection(names[0], precision, f"{others} for {precision}{_unproven(bundle.manifest, names[0], precision)}")


def open_backend(
    bundle: Bundle,
    *,
    choice: str,
    precision: PrecisionChoice = "f32",
    threads: int | None = None,
    state: str | os.PathLike[str] | None = None,
) -> Backend:
    """A backend over the graphs of `bundle`.

    Args:
        bundle: Opened.
        choice: As for `select_backend`.
        precision: As for `select_backend`.
        threads: Threads of the inference library; None for its own choice.
        state: The state folder with the engines of a backend that has them, such as `tensorrt`, which needs one; the
            other backends take none.

    Raises:
        As `select_backend`; InputError: `threads` is below 1, or `state` is missing or not wanted.
    """
    if threads is not None and threads < 1:
        raise InputError(f"{threads} threads are not possible", mend="give 1 or more")
    with_engines = [row.name for row in CATALOGUE.values() if row.has_engines]
    mend = f"give --backend {' or '.join(with_engines)} and --state DIR together; `cmc engine build` fills the folder"
    if state is not None and choice not in with_engines:
        raise InputError(f"{choice} takes no state folder", mend=mend)
    chosen = select_backend(bundle, choice=choice, precision=precision)
    row = CATALOGUE[chosen.backend]
    if row.has_engines and state is None:
        raise InputError(f"{row.name} needs a state folder with its engines", mend=mend)
    return row.open(bundle, Opening(chosen.precision, threads=threads, reason=chosen.reason, state=state))


def _fastest(manifest: Manifest, choice: str) -> Selection:
    passed_over: list[str] = []
    for backend, precision in _candidates(manifest, choice):
        why_not = _hindrance(manifest, CATALOGUE[backend], precision)
        if why_not is None:
            why = "; ".join(passed_over)
            reason = f"the fastest that kept the gate{f' ({why})' if why else ''}"
            return Selection(backend, precision, reason)
        passed_over.append(f"not {backend} {precision}: {why_not}")
    raise BackendError(
        f"nothing that is installed computes this bundle within the gate ({'; '.join(passed_over)})",
        mend="give --precision f32, or pip install 'cmc-sdk[cpu]'",
    )


def _candidates(manifest: Manifest, choice: str) -> Iterator[tuple[str, Precision]]:
    """What the bundle holds graphs for, fastest first; a backend without ranks only by name."""
    there = {graph.precision for graph in manifest.graphs}
    pairs = list(ranked_pairs())
    if choice != "auto":
        ranked = [pair for pair in pairs if pair[0] == choice]
        pairs = ranked or [(choice, precision) for precision in reversed(CATALOGUE[choice].precisions)]
    return (pair for pair in pairs if CATALOGUE[pair[0]].graphs[pair[1]] in there)


def _hindrance(manifest: Manifest, row: BackendRow, precision: Precision) -> str | None:
    """Why this pair is passed over; None if it may be used."""
    if not row.is_installed:
        return "not installed"
    # A bundle that records no passes at all is taken at its f32.
    if not _has_passed(manifest, row.name, precision) and (manifest.passed or precision != "f32"):
        return "the gate has not passed it"
    return row.lacks(precision)


def _holds(manifest: Manifest, precision: Precision, *, rows: Sequence[BackendRow]) -> bool:
    """Whether a bundle has limits for a precision, and graphs from which one of these backends computes it."""
    there = {graph.precision for graph in manifest.graphs}
    held = any(row.graphs.get(precision) in there for row in rows)
    return held and (precision == "f32" or precision in manifest.gate)


def _require_known(name: str, *, allowed: tuple[str, ...], what: str) -> None:
    if name not in allowed:
        raise InputError(f"unknown {what} {name!r}", mend=f"use one of {', '.join(allowed)}")


def _require_gate(bundle: Bundle, precision: Precision, *, rows: Sequence[BackendRow]) -> None:
    """A precision without limits, or without graphs, is not in the bundle."""
    if precision != "f32" and not _holds(bundle.manifest, precision, rows=rows):
        known = ", ".join(dict.fromkeys(("f32", *bundle.manifest.gate)))
        raise BundleError(f"{bundle.path} is not for {precision}: it was exported and passed for {known}", mend=_EXPORT)


def _require_installed(rows: Sequence[BackendRow]) -> None:
    if not any(row.is_installed for row in rows):
        packages = dict.fromkeys(row.package for row in rows)
        mends = dict.fromkeys(row.install for row in rows)
        raise BackendError(
            f"{' and '.join(packages)} not installed: no backend can run the bundle", mend=" or ".join(mends)
        )


def _unproven(manifest: Manifest, backend: str, precision: Precision) -> str:
    """A note for a pair that the gate did not run, in a bundle that says what it ran."""
    return "" if _has_passed(manifest, backend, precision) is not False else "; not among those that passed the gate"


def _has_passed(manifest: Manifest, backend: str, precision: Precision) -> bool | None:
    """None: the bundle does not say."""
    if not manifest.passed:
        return None
    return any((item.backend, item.precision) == (backend, precision) for item in manifest.passed)


def _backends_of(precision: Precision) -> str:
    return " or ".join(row.name for row in CATALOGUE.values() if precision in row.graphs)


_EXPORT = "export the run again in that precision, or leave --precision out"
