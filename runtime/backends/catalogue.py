"""Every backend, one row each: what lists, chooses, measures or judges backends reads it here, when it is asked.

One backend more is one class, and one row here. No library is imported by listing them.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

from cmc_sdk.errors import InputError
from cmc_sdk.runtime.backends.row import BackendRow, BackendState, Opening, Proof, StatePath

if TYPE_CHECKING:
    from cmc_sdk.bundle.precision import Precision
    from cmc_sdk.bundle.reader import Bundle
    from cmc_sdk.runtime.backends.base import Backend
    from cmc_sdk.runtime.backends.providers import ProviderName

__all__ = ["CATALOGUE", "REFERENCE", "add_row", "find_row", "gate_backends", "installed_backends", "ranked_pairs"]

REFERENCE = "onnxruntime"
"""Every other backend, and every other precision, is held against this one's f32."""


def _open_openvino(bundle: Bundle, opening: Opening) -> Backend:
    if opening.precision == "int8":
        from cmc_sdk.runtime.backends.int8 import Int8Backend

        return Int8Backend(bundle, threads=opening.threads, reason=opening.reason)
    from cmc_sdk.runtime.backends.openvino import OpenVinoBackend

    return OpenVinoBackend(bundle, precision=opening.precision, threads=opening.threads, reason=opening.reason)


def _load_openvino() -> None:
    from cmc_sdk.runtime.backends.openvino import import_openvino

    import_openvino()


def _examine_openvino(precisions: tuple[Precision, ...]) -> BackendState:
    from cmc_sdk.runtime.backends.examine import examine_openvino

    return examine_openvino(precisions)


def _openvino_lacks(precision: Precision) -> str | None:
    if precision != "bf16":
        return None
    from cmc_sdk.runtime.backends.openvino import computes_bf16

    return None if computes_bf16() else "this processor has no bf16"


def _open_provider(name: ProviderName, bundle: Bundle, opening: Opening) -> Backend:
    from cmc_sdk.runtime.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(
        bundle, provider=name, precision=opening.precision, threads=opening.threads, reason=opening.reason
    )


def _load_onnxruntime() -> None:
    importlib.import_module("onnxruntime")


def _examine_onnxruntime(precisions: tuple[Precision, ...]) -> BackendState:
    from cmc_sdk.runtime.backends.examine import examine_onnxruntime

    return examine_onnxruntime(precisions)


def _examine_provider(name: ProviderName, precisions: tuple[Precision, ...]) -> BackendState | None:
    from cmc_sdk.runtime.backends.examine import examine_provider

    return examine_provider(name, precisions)


def _probe_provider(name: ProviderName) -> str | None:
    from cmc_sdk.runtime.backends.providers import probe_provider

    return probe_provider(name)


def _gpu_row(name: ProviderName) -> BackendRow:
    """A provider of onnxruntime-gpu: taken by name only, and where it really runs."""
    return BackendRow(
        name=name,
        graphs={"f32": "f32", "fp16": "fp16"},
        modules=("onnxruntime",),
        install="pip install 'cmc-sdk[cuda]'",
        open=partial(_open_provider, name),
        load=_load_onnxruntime,
        examine=partial(_examine_provider, name),
        fault=partial(_probe_provider, name),
    )


def _open_tensorrt(bundle: Bundle, opening: Opening) -> Backend:
    from cmc_sdk.runtime.backends.tensorrt.backend import TensorRtBackend

    if opening.state is None:
        raise InputError("tensorrt needs a state folder with its engines", mend="give --state DIR")
    return TensorRtBackend(
        bundle, state=opening.state, precision=opening.precision, threads=opening.threads, reason=opening.reason
    )


def _load_tensorrt() -> None:
    """Nothing: which of its libraries is needed is in the state folder."""


def _examine_tensorrt(precisions: tuple[Precision, ...]) -> None:
    """Nothing: `cmc doctor` shows devices and builders of engines by themselves."""


def _prove_tensorrt(bundle: Bundle, state: StatePath, precisions: Collection[Precision] | None) -> Proof | None:
    from cmc_sdk.runtime.backends.tensorrt.proof import holds_engines, keep_word, unproved_backends

    if not holds_engines(state):
        return None
    backends = unproved_backends(bundle, state=state, precisions=precisions)
    return Proof(backends, keep=partial(keep_word, backends, bundle=bundle, state=state))


# Ranks as measured on a CPU (docs/backends.md). An FP16 graph gains nothing there: it is for checking.
_ROWS = (
    BackendRow(
        name="openvino",
        graphs={"f32": "f32", "bf16": "f32", "int8": "int8-openvino"},
        modules=("openvino",),
        install="pip install 'cmc-sdk[cpu]'",
        open=_open_openvino,
        load=_load_openvino,
        examine=_examine_openvino,
        ranks={"int8": 10, "bf16": 20, "f32": 30},
        lacks=_openvino_lacks,
    ),
    BackendRow(
        name="onnxruntime",
        graphs={"f32": "f32", "fp16": "fp16"},
        modules=("onnxruntime",),
        install="pip install 'cmc-sdk[cpu]'",
        open=partial(_open_provider, "onnxruntime"),
        load=_load_onnxruntime,
        examine=_examine_onnxruntime,
        ranks={"f32": 40, "fp16": 50},
    ),
    _gpu_row("onnxruntime-cuda"),
    _gpu_row("onnxruntime-tensorrt"),
    BackendRow(
        name="tensorrt",
        graphs={"f32": "f32", "fp16": "fp16"},
        modules=("tensorrt", "tensorrt_rtx"),
        install="docs/engines.md says how",
        open=_open_tensorrt,
        load=_load_tensorrt,
        examine=_examine_tensorrt,
        prove=_prove_tensorrt,
    ),
)

CATALOGUE: dict[str, BackendRow] = {row.name: row for row in _ROWS}
"""The rows by name, in the order in which `--help` lists them."""


def find_row(name: str) -> BackendRow:
    """The row of a backend.

    Raises:
        InputError: There is none of that name.
    """
    if name not in CATALOGUE:
        raise InputError(f"unknown backend {name!r}", mend=f"use one of {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def add_row(path: str) -> None:
    """Put a row that is not the catalogue's own into it: for a process that another one of ours started.

    Args:
        path: Its row's `path`, `module:NAME`.

    Raises:
        InputError: There is no row at that place.
    """
    module, _, name = path.partition(":")
    row = getattr(importlib.import_module(module), name, None)
    if not isinstance(row, BackendRow):
        raise InputError(f"{path} is no row of a backend", mend="give module:NAME of a BackendRow")
    CATALOGUE[row.name] = row


def ranked_pairs() -> tuple[tuple[str, Precision], ...]:
    """Every backend and precision that may be chosen without being named, the fastest first."""
    ranked = [(rank, row.name, precision) for row in CATALOGUE.values() for precision, rank in row.ranks.items()]
    return tuple((name, precision) for _, name, precision in sorted(ranked))


def installed_backends() -> tuple[str, ...]:
    """The backends that may be chosen without being named and whose library is installed here; nothing is imported."""
    names = dict.fromkeys(name for name, _ in ranked_pairs())
    return tuple(name for name in names if CATALOGUE[name].is_installed)


def gate_backends(precision: Precision) -> tuple[str, ...]:
    """Which of those the gate of an export runs in a precision: the installed ones; all if none is, to be told so."""
    able = tuple(name for name, known in ranked_pairs() if known == precision)
    return tuple(name for name in able if CATALOGUE[name].is_installed) or able
