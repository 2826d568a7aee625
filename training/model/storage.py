"""A network as one safetensors file: weights, and in its metadata all that is needed to build it again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cmc_sdk.atomic import atomic_file
from cmc_sdk.errors import CheckpointError
from cmc_sdk.training.model.build import build_fresh
from cmc_sdk.training.model.config import ModelConfig
from cmc_sdk.training.model.network import CMCNetwork
from cmc_sdk.training.model.torch_file import fit_faults

__all__ = ["load_network", "restore_network", "save_network"]

_FORMAT = "cmc-network-1"


def save_network(network: CMCNetwork, path: str | os.PathLike[str]) -> None:
    """Write weights, configuration, modalities and number of classes to `path` (safetensors), atomically.

    Raises:
        InputError: The folder does not exist.
        ResourceError: The disk is full or the folder cannot be written.
    """
    metadata = {
        "format": _FORMAT,
        "config": network.config.model_dump_json(),
        "modalities": json.dumps(network.modalities),
        "num_classes": str(network.num_classes),
    }
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with atomic_file(path) as temporary:
        save_file(weights, temporary, metadata=metadata)


def load_network(path: str | os.PathLike[str]) -> CMCNetwork:
    """The network that `save_network` wrote; a public checkpoint that it started from is not needed any more.

    Raises:
        CheckpointError: The file is missing, damaged, or not one of ours.
    """
    weights, config, modalities, num_classes = _read(Path(path))
    network = build_fresh(config, modalities=modalities, num_classes=num_classes)
    _fill(network, weights, path=path)
    return network


def restore_network(network: CMCNetwork, path: str | os.PathLike[str]) -> None:
    """Load the weights that `save_network` wrote into a network of the same configuration, in place.

    Raises:
        CheckpointError: The file is missing or damaged, or its network is another one: says what differs, for example
            the preset.
    """
    weights, config, modalities, num_classes = _read(Path(path))
    mine, theirs = _architecture(network.config), _architecture(config)
    mine |= {"modalities": list(network.modalities), "num_classes": network.num_classes}
    theirs |= {"modalities": modalities, "num_classes": num_classes}
    differing = [f"{key} {theirs[key]} instead of {mine[key]}" for key in mine if mine[key] != theirs[key]]
    if differing:
        raise CheckpointError(
            f"{path}: a checkpoint of another network: {', '.join(differing)}",
            mend="configure the network as the checkpoint is, or give another checkpoint",
        )
    _fill(network, weights, path=path)


def _architecture(config: ModelConfig) -> dict[str, object]:
    """What decides the shapes of the weights."""
    shared: dict[str, object] = {"backbone": config.backbone, "window_vox": config.window, "combine": config.combine}
    if config.backbone == "unet3d":
        return {**shared, "preset": None, "adapters": False, "width": config.width}
    return {**shared, "preset": config.preset, "adapters": config.with_adapters, "width": None}


def _read(path: Path) -> tuple[dict[str, Tensor], ModelConfig, list[str], int]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file", mend="give the path of a checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if metadata.get("format") != _FORMAT:
            raise CheckpointError(f"{path}: not a network of cmc-sdk", mend="give a checkpoint that cmc train wrote")
        config = ModelConfig.model_validate_json(metadata["config"])
        return weights, config, list(json.loads(metadata["modalities"])), int(metadata["num_classes"])
    except (SafetensorError, ValidationError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise CheckpointError(
            f"{path}: damaged or truncated ({reason})", mend="give an undamaged checkpoint"
        ) from error


def _fill(network: CMCNetwork, weights: dict[str, Tensor], *, path: str | os.PathLike[str]) -> None:
    own = network.state_dict()
    faults = fit_faults(own, weights, exact=True)
    if faults:
        raise CheckpointError(
            f"{path}: weights do not fit the network: {'; '.join(faults)}", mend="give another checkpoint"
        )
    with torch.no_grad():
        for key, value in own.items():
            value.copy_(weights[key])
