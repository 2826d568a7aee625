"""Reading state dicts from other people's `.pth` files without running anything that they hold."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cmc_sdk.errors import CheckpointError

__all__ = ["LoadReport", "few", "fit_faults", "read_state_dict"]

_Global = Callable[..., object]
_HOLDERS = ("model_state_dict", "state_dict", "net", "model")


@dataclass(frozen=True)
class LoadReport:
    """What a loader did with a checkpoint, by the names that the checkpoint uses (without `module.`).

    Args:
        matched: Tensors that were loaded.
        missing: Optional tensors that the network could have taken and the checkpoint does not hold.
        unexpected: Tensors that the network has no use for.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def read_state_dict(path: str | os.PathLike[str], *, strip: tuple[str, ...] = ("module.",)) -> dict[str, Tensor]:
    """The tensors of a torch file: a bare state dict, or a dict that holds one beside optimizer states and the like.

    Args:
        path: A file written by `torch.save`.
        strip: Prefixes to take off the names, as often as they lead.

    Raises:
        CheckpointError: The file is missing, truncated, no torch file, holds objects other than plain data, or no
            state dict.
    """
    content = _read(Path(path))
    if isinstance(content, Mapping):
        for holder in _HOLDERS:
            if isinstance(content.get(holder), Mapping):
                content = content[holder]
                break
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(
            f"{path}: holds no state dict", mend=f"give a state dict, bare or under one of {', '.join(_HOLDERS)}"
        )
    state = {_stripped(str(key), strip): value for key, value in content.items() if isinstance(value, Tensor)}
    spoilt = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if spoilt:
        raise CheckpointError(f"{path}: NaN or infinity in {few(spoilt)}", mend="give a checkpoint of a healthy run")
    return state


def few(names: list[str]) -> str:
    """The first names of a list and how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def fit_faults(needed: Mapping[str, Tensor], given: Mapping[str, Tensor], *, exact: bool) -> list[str]:
    """How `given` fails to fill `needed`: tensors missing, of another shape, and, with `exact`, unknown ones."""
    missing = [key for key in needed if key not in given]
    unknown = [key for key in given if key not in needed] if exact else []
    differing = [
        f"{key} {tuple(given[key].shape)} instead of {tuple(value.shape)}"
        for key, value in needed.items()
        if key in given and given[key].shape != value.shape
    ]
    named = {"missing": missing, "other shape": differing, "unknown": unknown}
    return [f"{len(names)} of {len(needed)} {what}: {few(names)}" for what, names in named.items() if names]


def _read(path: Path) -> object:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file", mend="give the path of a checkpoint")
    try:
        with torch.serialization.safe_globals(list(_harmless())):
            content: object = torch.load(path, map_location="cpu", weights_only=True)
            return content
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: cannot be read as plain tensors ({reason[:200]})",
            mend="give an undamaged file of tensors only, for example torch.save(model.state_dict(), path)",
        ) from error


def _harmless() -> Iterator[_Global | tuple[_Global, str]]:
    """What public checkpoints hold beside tensors and plain Python: their arguments, and numbers from numpy."""
    yield argparse.Namespace
    yield np.dtype
    yield from (np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType)
    # What a pickled number of numpy calls; where it lies differs between numpy 1 and 2.
    scalar: _Global = np.float64(0.0).__reduce__()[0]
    yield scalar
    yield (scalar, "numpy.core.multiarray.scalar")  # as numpy 1 wrote it


def _stripped(name: str, prefixes: tuple[str, ...]) -> str:
    while name.startswith(prefixes):
        name = next(name[len(prefix) :] for prefix in prefixes if name.startswith(prefix))
    return name
