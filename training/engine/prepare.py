"""Checks of a configuration against the machine and the data list, all of them before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from cmc_sdk.bundle.manifest import Grid, ModelSpec
from cmc_sdk.errors import ConfigError, DataError
from cmc_sdk.training.data import Datalist, load_datalist
from cmc_sdk.training.engine.config import TrainConfig
from cmc_sdk.training.methods import method_traits, methods_with, one_of
from cmc_sdk.training.model import model_faults

__all__ = ["Prepared", "absolute_paths", "default_dropout", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """A configuration that can run.

    Args:
        config: With absolute paths.
        datalist: Loaded, with absolute paths.
        spec: What the sliding window needs to know.
        modality_dropout: Resolved.
        warnings: What is allowed and known to go wrong, one sentence each.
    """

    config: TrainConfig
    datalist: Datalist
    spec: ModelSpec
    modality_dropout: float
    warnings: tuple[str, ...]


def prepare(config: TrainConfig, *, processes: int = 1) -> Prepared:
    """Check all that can be checked without reading a scan.

    Args:
        config: A valid configuration.
        processes: How many will share each step.

    Raises:
        ConfigError: Anything contradicts; every fault is named.
    """
    config = absolute_paths(config)
    faults = [f"model: {fault}" for fault in model_faults(config.model)]
    faults += _machine_faults(config, processes=processes)
    datalist: Datalist | None = None
    try:
        datalist = load_datalist(config.data.datalist)
    except DataError as error:
        faults.append(f"data.datalist: {error.what}")
    if datalist is not None:
        faults += _data_faults(config, datalist)
    if faults or datalist is None:
        raise ConfigError("; ".join(faults), mend="nothing was run")
    window = config.model.window
    grid = Grid(spacing_mm=config.data.spacing_mm, window_vox=(window, window, window), overlap=config.data.overlap)
    _, warnings = config.loss.resolve(datalist.pairing)
    concerned = method_traits(config.method).has_consistency_terms and config.stages.semi > 0
    return Prepared(
        config=config,
        datalist=datalist,
        spec=datalist.model_spec(grid=grid),
        modality_dropout=default_dropout(config, datalist),
        warnings=warnings if concerned else (),
    )


def absolute_paths(config: TrainConfig) -> TrainConfig:
    """The same configuration with every path absolute, so that the run folder can be read from anywhere."""
    model, data = config.model, config.data.model_copy(update={"datalist": str(Path(config.data.datalist).absolute())})
    if model.pretrained is not None:
        model = model.model_copy(update={"pretrained": str(Path(model.pretrained).absolute())})
    output = str(Path(config.run_folder).absolute())
    return config.model_copy(update={"model": model, "data": data, "output": output})


def default_dropout(config: TrainConfig, datalist: Datalist) -> float:
    """Modality dropout where none was given: .25, .5 for unpaired data, 0 for a single modality."""
    if len(datalist.modalities) == 1:
        return 0.0
    if config.modality_dropout is not None:
        return config.modality_dropout
    return 0.5 if datalist.pairing == "unpaired" else 0.25


def _machine_faults(config: TrainConfig, *, processes: int) -> list[str]:
    faults = []
    if config.model.pretrained is not None and not Path(config.model.pretrained).is_file():
        faults.append(f"model.pretrained: there is no file {config.model.pretrained}; give the checkpoint's path")
    if config.device == "cuda" and not torch.cuda.is_available():
        faults.append("device: cuda, but this machine has no usable NVIDIA GPU; set device: cpu or auto")
    if config.precision != "32-true" and (config.device == "cpu" or not torch.cuda.is_available()):
        # bf16 too: torch 2.13 gives garbage for the weights' gradients of bf16 convolutions over 2×2×2 voxels on CPUs.
        faults.append(f"precision: {config.precision} needs a GPU; set 32-true")
    parts = processes * config.accumulate
    for name in ("labelled_batch", "unlabelled_batch"):
        size = getattr(config.data, name)
        if size % parts:
            faults.append(
                f"data.{name}: {size} samples a step do not divide into {processes} processes × {config.accumulate} "
                f"accumulated parts; give a multiple of {parts}"
            )
    equal = method_traits(config.method).needs_equal_batches and config.stages.semi > 0
    if parts > 1 and equal and config.data.labelled_batch != config.data.unlabelled_batch:
        faults.append(
            f"data.unlabelled_batch: with method {config.method} a step can only be divided where it equals "
            "labelled_batch; make them equal"
        )
    return faults


def _data_faults(config: TrainConfig, datalist: Datalist) -> list[str]:
    faults = []
    traits = method_traits(config.method)
    if not datalist.split("labelled"):
        faults.append(f"data list {datalist.name}: no case in split labelled, so there is nothing to learn from")
    if not any(set(case.labels) & set(case.images) for case in datalist.split("validation")):
        faults.append(
            f"data list {datalist.name}: no labelled case in split validation, so no best checkpoint can be chosen; "
            "move one there"
        )
    if config.stages.semi > 0 and traits.learns_from_unlabelled and not datalist.split("unlabelled"):
        content = one_of(methods_with(lambda other: not other.learns_from_unlabelled))
        faults.append(
            f"data list {datalist.name}: no case in split unlabelled, which stage 3 of method {config.method} needs; "
            f"add cases, or set stages.semi: 0 or method: {content}"
        )
    if traits.needs_pairs and len(datalist.modalities) == 1:
        faults.append(
            f"method: {config.method} compares modalities, data list {datalist.name} has only "
            f"{datalist.modality_names[0]}; use {one_of(methods_with(lambda other: not other.needs_pairs))}"
        )
    if config.data.pairing == "world" and datalist.pairing == "unpaired":
        faults.append(
            f"data.pairing: world, but data list {datalist.name} is unpaired: its modalities share no frame; "
            "leave it out, or give body"
        )
    if config.loss.w_cac > 0 and config.loss.cac == "world" and datalist.pairing == "unpaired":
        faults.append(
            f"loss.cac: world, but data list {datalist.name} is unpaired: no voxel of one modality corresponds to one "
            "of the other; leave it out (moments)"
        )
    return faults
