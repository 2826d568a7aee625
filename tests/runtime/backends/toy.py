"""A fourth backend: one class, and one row; nothing of the SDK knows of it."""

from __future__ import annotations

import importlib.metadata

from cmc_sdk.bundle.precision import Precision
from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.runtime.backends.onnxruntime import OnnxRuntimeBackend
from cmc_sdk.runtime.backends.row import BackendRow, BackendState, Opening
from cmc_sdk.runtime.backends.wrapped import WrappedBackend


class ToyBackend(WrappedBackend):
    """Computes with ONNX Runtime, under a name of its own."""

    def __init__(self, bundle: Bundle, opening: Opening) -> None:
        super().__init__(OnnxRuntimeBackend(bundle, threads=opening.threads, reason=opening.reason))
        self.name = "toy"


def _examine(precisions: tuple[Precision, ...]) -> BackendState:
    return BackendState(True, importlib.metadata.version("onnxruntime"), precisions, ("TOY",), "")


def _load() -> None:
    import onnxruntime  # noqa: F401 - its import is what is wanted


TOY = BackendRow(
    name="toy",
    graphs={"f32": "f32"},
    modules=("onnxruntime",),
    install="pip install toy",
    open=ToyBackend,
    load=_load,
    examine=_examine,
    ranks={"f32": 60},
    path="tests.runtime.backends.toy:TOY",
)
