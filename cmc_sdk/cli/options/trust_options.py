"""The options with which every command that opens a bundle says whose bundles may run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import click

from cmc_sdk.errors import InputError

__all__ = ["chosen_trust", "trust_options"]

Command = TypeVar("Command", bound=Callable[..., object])


def trust_options(command: Command) -> Command:
    """Add `--trust STORE` and `--development`."""
    store = click.option(
        "--trust",
        type=click.Path(path_type=Path),
        metavar="STORE",
        help="The keys whose bundles may run: a file of `cmc bundle trust`.  [default: that named by CMC_TRUST]",
    )
    development = click.option(
        "--development", is_flag=True, help="Run the bundle whoever made it; records and output say so."
    )
    return store(development(command))


def chosen_trust(store: Path | None, *, development: bool) -> Path | Literal["development"] | None:
    """What `trust=` of the Python functions takes, from the two options.

    Raises:
        InputError: Both were given.
    """
    if development and store is not None:
        raise InputError("--trust and --development contradict each other", mend="give one of them")
    return "development" if development else store
