"""Choosing a backend by name, or the fastest that is installed."""

from __future__ import annotations

import importlib.util
from typing import Literal, get_args

from cmc_sdk.bundle.reader import Bundle
from cmc_sdk.errors import BackendError, InputError
from cmc_sdk.runtime.backends.graphs import GraphBackend

__all__ = ["BackendChoice", "open_backend"]

BackendChoice = Literal["auto", "openvino", "onnxruntime"]

# Measured: OpenVINO f32 takes about two thirds of ONNX Runtime's time on a CPU.
PREFERENCE: tuple[Literal["openvino", "onnxruntime"], ...] = ("openvino", "onnxruntime")


def open_backend(bundle: Bundle, *, choice: BackendChoice, threads: int | None = None) -> GraphBackend:
    """A backend over the graphs of `bundle`.

    Args:
        bundle: Opened.
        choice: A name, or `auto` for the first of OpenVINO and ONNX Runtime that is installed.
        threads: Threads of the inference library; None for its own choice.

    Raises:
        BackendError: None is installed.
        InputError: `choice` is unknown or `threads` below 1.
    """
    if choice not in get_args(BackendChoice):
        raise InputError(f"unknown backend {choice!r}", mend=f"use one of {', '.join(get_args(BackendChoice))}")
    if threads is not None and threads < 1:
        raise InputError(f"{threads} threads are not possible", mend="give 1 or more")
    wanted = PREFERENCE if choice == "auto" else (choice,)
    for name in wanted:
        if importlib.util.find_spec(name) is None:
            continue
        if name == "openvino":
            from cmc_sdk.runtime.backends.openvino import OpenVinoBackend

            return OpenVinoBackend(bundle, threads=threads)
        from cmc_sdk.runtime.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(bundle, threads=threads)
    missing = " and ".join(wanted)
    raise BackendError(f"{missing} not installed: no backend can run the bundle", mend="pip install 'cmc-sdk[cpu]'")
