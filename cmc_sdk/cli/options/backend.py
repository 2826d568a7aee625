"""The options `--backend` and `--precision`, the same in every command that has them, and what follows from them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import click

__all__ = ["BACKENDS", "PRECISIONS", "backend_option", "precision_option", "prefer_instructions", "state_option"]

BACKENDS = ("openvino", "onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt")
PRECISIONS = ("f32", "fp16", "bf16", "int8")

backend_option = click.option(
    "--backend",
    type=click.Choice(["auto", *BACKENDS]),
    default="auto",
    show_default=True,
    help="Inference library. auto: the fastest that is installed; its name and the reason are in the record.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice([*PRECISIONS, "fastest"]),
    default="f32",
    show_default=True,
    help="What it computes in, of those that the bundle was exported for. fastest: the fastest that kept the gate.",
)
state_option = click.option(
    "--state",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The state folder with the engines of --backend tensorrt, filled by `cmc engine build`.",
)


def prefer_instructions(precisions: Collection[str]) -> None:
    """Before a backend is opened: choose the process's instructions, if it is ours and computes in FP32 alone."""
    from cmc_sdk.runtime.backends.instructions import prefer_for_f32

    owner = click.get_current_context().obj or {}
    if owner.get("own_process") and set(precisions) == {"f32"}:
        prefer_for_f32()
