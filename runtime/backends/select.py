"""Choosing a backend and a precision: by name, or the fastest that the gate has passed."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from cmc_sdk.bundle.manifest import Manifest
from cmc_sdk.bundle.precision import GRAPHS_OF, Precision
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.errors import BackendError, BundleError, InputError
from cmc_sdk.runtime.backends.graphs import GraphBackend
from cmc_sdk.runtime.backends.providers import GPU_PROVIDERS, probe_provider

__all__ = [
    "PRECISIONS_OF",
    "BackendChoice",
    "BackendName",
    "PrecisionChoice",
    "Selection",
    "computable_pairs",
    "installed_backends",
    "open_backend",
    "select_backend",
]

BackendName = Literal["openvino", "onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt"]
BackendChoice = Literal["auto", "openvino", "onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt"]
PrecisionChoice = Literal["f32", "fp16", "bf16", "int8", "fastest"]

PRECISIONS_OF: dict[BackendName, tuple[Precision, ...]] = {
    "openvino": ("f32", "bf16", "int8"),
    "onnxruntime": ("f32", "fp16"),
    "onnxruntime-cuda": ("f32", "fp16"),
    "onnxruntime-tensorrt": ("f32", "fp16"),
    "tensorrt": ("f32", "fp16"),
}

# Fastest first, as measured on a CPU (docs/backends.md). An FP16 graph gains nothing there: it is for checking.
RANKED: tuple[tuple[BackendName, Precision], ...] = (
    ("openvino", "int8"),
    ("openvino", "bf16"),
    ("openvino", "f32"),
    ("onnxruntime", "f32"),
    ("onnxruntime", "fp16"),
)


@dataclass(frozen=True)
class Selection:
    """What was chosen, and why in a few words."""

    backend: BackendName
    precision: Precision
    reason: str


def installed_backends() -> tuple[BackendName, ...]:
    """The CPU backends whose package is installed here; nothing is imported."""
    return tuple(dict.fromkeys(name for name, _ in RANKED if _is_installed(name)))


def computable_pairs(manifest: Manifest) -> tuple[tuple[BackendName, Precision], ...]:
    """Every backend and precision that this machine can compute of a bundle, passed by its gate or not; the fastest
    first. ONNX Runtime's GPU providers are among them where they really run.
    """
    pairs = list(RANKED)
    if _is_installed("onnxruntime"):
        works = [name for name in GPU_PROVIDERS if probe_provider(name) is None]
        pairs += [(name, precision) for name in works for precision in PRECISIONS_OF[name]]
    return tuple(
        (backend, precision)
        for backend, precision in pairs
        if _is_installed(backend) and _holds(manifest, precision) and (precision != "bf16" or _has_bf16())
    )


def select_backend(bundle: Bundle, *, choice: BackendChoice, precision: PrecisionChoice = "f32") -> Selection:
    """Decide which backend computes `bundle`, in which precision.

    `f32` is what a user gets who asks for nothing. A faster precision is used only by name, or by `fastest`, which
    takes the fastest pair of backend and precision that kept the gate's limits when the bundle was made and that this
    machine can compute.

    Args:
        bundle: Opened.
        choice: A name, or `auto` for the fastest that is installed.
        precision: A name, or `fastest`.

    Raises:
        BackendError: Nothing that is installed can do it.
        BundleError: The bundle was not exported, or not passed, in this precision.
        InputError: An unknown name, or a backend that does not compute in this precision.
    """
    _require_known(choice, allowed=get_args(BackendChoice), what="backend")
    _require_known(precision, allowed=get_args(PrecisionChoice), what="precision")
    if precision == "fastest":
        return _fastest(bundle.manifest, choice)
    _require_gate(bundle, precision)
    if choice != "auto":
        if precision not in PRECISIONS_OF[choice]:
            raise InputError(
                f"{choice} does not compute in {precision}, only in {', '.join(PRECISIONS_OF[choice])}",
                mend=f"give --backend {_backends_of(precision)}",
            )
        _require_installed((choice,))
        return Selection(choice, precision, f"chosen by name{_unproven(bundle.manifest, choice, precision)}")
    wanted = tuple(dict.fromkeys(name for name, known in RANKED if known == precision))
    _require_installed(wanted)
    # Of two that are installed the gate's word counts more than speed.
    pairs = sorted(
        (name for name in wanted if _is_installed(name)),
        key=lambda name: _has_passed(bundle.manifest, name, precision) is False,
    )
    others = "the only one that is installed" if len(pairs) == 1 else "the fastest that is installed"
    return Selection(pairs[0], precision, f"{others} for {precision}{_unproven(bundle.manifest, pairs[0], precision)}")


def open_backend(
    bundle: Bundle,
    *,
    choice: BackendChoice,
    precision: PrecisionChoice = "f32",
    threads: int | None = None,
    state: str | os.PathLike[str] | None = None,
) -> GraphBackend:
    """A backend over the graphs of `bundle`.

    Args:
        bundle: Opened.
        choice: As for `select_backend`.
        precision: As for `select_backend`.
        threads: Threads of the inference library; None for its own choice.
        state: The state folder with the engines of `tensorrt`, which needs one; the other backends take none.

    Raises:
        As `select_backend`; InputError: `threads` is below 1, or `state` is missing or not wanted.
    """
    if threads is not None and threads < 1:
        raise InputError(f"{threads} threads are not possible", mend="give 1 or more")
    if state is not None and choice != "tensorrt":
        raise InputError(f"{choice} takes no state folder", mend=_STATE)
    chosen = select_backend(bundle, choice=choice, precision=precision)
    if chosen.backend == "tensorrt":
        if state is None:
            raise InputError("tensorrt needs a state folder with its engines", mend=_STATE)
        from cmc_sdk.runtime.backends.tensorrt.backend import TensorRtBackend

        return TensorRtBackend(bundle, state=state, precision=chosen.precision, threads=threads, reason=chosen.reason)
    if chosen.precision == "int8":
        from cmc_sdk.runtime.backends.int8 import Int8Backend

        return Int8Backend(bundle, threads=threads, reason=chosen.reason)
    if chosen.backend == "openvino":
        from cmc_sdk.runtime.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(bundle, precision=chosen.precision, threads=threads, reason=chosen.reason)
    from cmc_sdk.runtime.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(
        bundle, provider=chosen.backend, precision=chosen.precision, threads=threads, reason=chosen.reason
    )


def _fastest(manifest: Manifest, choice: BackendChoice) -> Selection:
    passed_over: list[str] = []
    for backend, precision in _candidates(manifest, choice):
        why_not = _hindrance(manifest, backend, precision)
        if why_not is None:
            why = "; ".join(passed_over)
            reason = f"the fastest that kept the gate{f' ({why})' if why else ''}"
            return Selection(backend, precision, reason)
        passed_over.append(f"not {backend} {precision}: {why_not}")
    raise BackendError(
        f"nothing that is installed computes this bundle within the gate ({'; '.join(passed_over)})",
        mend="give --precision f32, or pip install 'cmc-sdk[cpu]'",
    )


def _candidates(manifest: Manifest, choice: BackendChoice) -> Iterator[tuple[BackendName, Precision]]:
    """What the bundle holds graphs for, fastest first; a GPU's backends only by name."""
    graphs = {graph.precision for graph in manifest.graphs}
    pairs = list(RANKED)
    if choice != "auto":
        ranked = [pair for pair in RANKED if pair[0] == choice]
        pairs = ranked or [(choice, precision) for precision in reversed(PRECISIONS_OF[choice])]
    return (pair for pair in pairs if GRAPHS_OF[pair[1]] in graphs)


def _hindrance(manifest: Manifest, backend: BackendName, precision: Precision) -> str | None:
    """Why this pair is passed over; None if it may be used."""
    if not _is_installed(backend):
        return "not installed"
    # A bundle that records no passes at all is taken at its f32.
    if not _has_passed(manifest, backend, precision) and (manifest.passed or precision != "f32"):
        return "the gate has not passed it"
    return "this processor has no bf16" if precision == "bf16" and not _has_bf16() else None


def _has_bf16() -> bool:
    from cmc_sdk.runtime.backends import openvino

    return openvino.computes_bf16()


def _holds(manifest: Manifest, precision: Precision) -> bool:
    graphs = {graph.precision for graph in manifest.graphs}
    return GRAPHS_OF[precision] in graphs and (precision == "f32" or precision in manifest.gate)


def _require_known(name: str, *, allowed: tuple[str, ...], what: str) -> None:
    if name not in allowed:
        raise InputError(f"unknown {what} {name!r}", mend=f"use one of {', '.join(allowed)}")


def _require_gate(bundle: Bundle, precision: Precision) -> None:
    """A precision without limits, or without graphs, is not in the bundle."""
    if precision != "f32" and not _holds(bundle.manifest, precision):
        known = ", ".join(dict.fromkeys(("f32", *bundle.manifest.gate)))
        raise BundleError(f"{bundle.path} is not for {precision}: it was exported and passed for {known}", mend=_EXPORT)


def _require_installed(names: tuple[BackendName, ...]) -> None:
    if not any(map(_is_installed, names)):
        packages = dict.fromkeys(map(_package, names))
        extra = "cuda" if any(name not in ("openvino", "onnxruntime") for name in names) else "cpu"
        mend = "docs/engines.md says how" if names == ("tensorrt",) else f"pip install 'cmc-sdk[{extra}]'"
        raise BackendError(f"{' and '.join(packages)} not installed: no backend can run the bundle", mend=mend)


def _unproven(manifest: Manifest, backend: BackendName, precision: Precision) -> str:
    """A note for a pair that the gate did not run, in a bundle that says what it ran."""
    return "" if _has_passed(manifest, backend, precision) is not False else "; not among those that passed the gate"


def _has_passed(manifest: Manifest, backend: BackendName, precision: Precision) -> bool | None:
    """None: the bundle does not say."""
    if not manifest.passed:
        return None
    return any((item.backend, item.precision) == (backend, precision) for item in manifest.passed)


def _backends_of(precision: Precision) -> str:
    return " or ".join(name for name, known in PRECISIONS_OF.items() if precision in known)


def _is_installed(name: BackendName) -> bool:
    if name == "tensorrt" and importlib.util.find_spec("tensorrt_rtx") is not None:
        return True
    return importlib.util.find_spec(_package(name)) is not None


def _package(name: BackendName) -> str:
    return name.partition("-")[0]


_EXPORT = "export the run again in that precision, or leave --precision out"
_STATE = "give --backend tensorrt and --state DIR together; `cmc engine build` fills the folder"
