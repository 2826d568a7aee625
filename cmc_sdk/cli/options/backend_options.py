"""The options `--backend` and `--precision`, the same in every command that has them, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from cmc_sdk.bundle.precision import Precision

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from cmc_sdk.runtime.backends.row import BackendRow

    _Word = click.ParamType[str]
else:
    _Word = click.ParamType  # older ones of click that are allowed take no parameter

__all__ = ["PRECISIONS", "BackendType", "backend_option", "precision_option", "prefer_instructions", "state_option"]

PRECISIONS = get_args(Precision)


class BackendType(_Word):
    """One of the catalogue's names, which is asked when the option is read or its help is shown.

    Args:
        also: Words that are taken too, before the names.
        fits: Which rows of the catalogue may be named; None: all.
    """

    name = "backend"

    def __init__(self, *, also: tuple[str, ...] = (), fits: Callable[[BackendRow], bool] | None = None) -> None:
        self._also, self._fits = also, fits

    def names(self) -> tuple[str, ...]:
        """What may be given now."""
        from cmc_sdk.runtime.backends.catalogue import CATALOGUE

        return (*self._also, *(row.name for row in CATALOGUE.values() if self._fits is None or self._fits(row)))

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As `click.Choice`."""
        return click.Choice(self.names()).convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """As `click.Choice`."""
        return f"[{'|'.join(self.names())}]"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """As `click.Choice`."""
        return click.Choice(self.names()).shell_complete(ctx, param, incomplete)


backend_option = click.option(
    "--backend",
    type=BackendType(also=("auto",)),
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
