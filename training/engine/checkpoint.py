"""A checkpoint: one safetensors file that holds all that the next step depends on.

Weights, the method's own state and the optimiser's moments are tensors; step, learning history and configuration are
JSON in the file's metadata. One file, because one rename is then the whole transaction: whenever the process dies, the
name `last.safetensors` stands for a complete checkpoint, the old or the new one. No pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.optim import Optimizer

from cmc_sdk.atomic import atomic_file
from cmc_sdk.errors import CheckpointError
from cmc_sdk.training.engine.run_documents import TrainingState

__all__ = ["Checkpoint", "load_checkpoint", "optimiser_tensors", "restore_optimiser", "save_checkpoint"]

FORMAT = "cmc-checkpoint-1"
_METADATA_KEY = "cmc_state"


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a checkpoint file.

    Args:
        weights: The network's state dict.
        extra: The method's own tensors (the teacher of Mean Teacher, the second network of CPS).
        optimiser: Moments by `<parameter's place>.<name>`.
        state: What is no tensor.
    """

    weights: dict[str, torch.Tensor]
    extra: dict[str, torch.Tensor]
    optimiser: dict[str, torch.Tensor]
    state: TrainingState


def save_checkpoint(
    path: Path,
    *,
    network: nn.Module,
    extra: Mapping[str, torch.Tensor],
    optimiser: Optimizer,
    state: TrainingState,
) -> None:
    """Write a checkpoint aside and rename it to `path`; until then the former one stands.

    Raises:
        ResourceError: The disk is full or the folder cannot be written.
    """
    tensors = {f"network.{name}": item for name, item in network.state_dict().items()}
    tensors |= {f"extra.{name}": item for name, item in extra.items()}
    tensors |= {f"optimiser.{name}": item for name, item in optimiser_tensors(optimiser).items()}
    # A copy each: safetensors refuses tensors that share memory, such as tied weights.
    plain = {name: item.detach().to("cpu", copy=True).contiguous() for name, item in tensors.items()}
    metadata = {"format": FORMAT, _METADATA_KEY: json.dumps(dict(state), allow_nan=False)}
    with atomic_file(path) as temporary:
        save_file(plain, temporary, metadata=metadata)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint that `save_checkpoint` wrote.

    Raises:
        CheckpointError: The file is missing, damaged or of another format.
    """
    parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "extra": {}, "optimiser": {}}
    try:
        with safe_open(path, framework="pt", device="cpu") as handle:
            metadata = handle.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(f"{path} is no training checkpoint", mend="give a run folder of `cmc train`")
            for key in handle.keys():  # noqa: SIM118 (safe_open is no mapping)
                part, _, name = key.partition(".")
                parts[part][name] = handle.get_tensor(key)
    except (SafetensorError, OSError, KeyError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}", mend="start the run again") from error
    state: TrainingState = json.loads(metadata[_METADATA_KEY])
    return Checkpoint(parts["network"], parts["extra"], parts["optimiser"], state)


def optimiser_tensors(optimiser: Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's state by `<place of the parameter>.<name>`; all of AdamW's state is tensors."""
    state = optimiser.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def restore_optimiser(optimiser: Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give an optimiser over the same parameters the state that `optimiser_tensors` took.

    Raises:
        CheckpointError: The state names a parameter that the optimiser does not have.
    """
    document = optimiser.state_dict()
    count = sum(len(group["params"]) for group in document["param_groups"])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        if int(index) >= count:
            raise CheckpointError(
                f"the checkpoint has optimiser state for parameter {index}, but only {count} train",
                mend="resume with the code version that wrote it",
            )
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": document["param_groups"]})
