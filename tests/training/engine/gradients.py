"""The gradients of one step from fresh weights; run by itself under torchrun, it writes them to a file.

torchrun --nproc-per-node 2 tests/training/engine/gradients.py CONFIG OUT RUN
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file

from cmc_sdk.training.data import WindowSource
from cmc_sdk.training.engine import TrainConfig, load_config, train
from cmc_sdk.training.engine.prepare import prepare
from cmc_sdk.training.engine.steps import Part, Stepper, make_parts
from cmc_sdk.training.engine.trainer import launch
from cmc_sdk.training.methods import build_method
from cmc_sdk.training.model import build_network

STEPS = (0, 2, 6)  # one of each stage, the last with every consistency weight above 0


def gradients_of(config: TrainConfig, *, step: int, fabric: Fabric | None = None) -> dict[str, torch.Tensor]:
    """After clipping, by parameter, as the optimiser saw them; without those that had none.

    Args:
        config: Of the run.
        step: Which one.
        fabric: None for the one that the configuration asks for.
    """
    fabric = launch(config) if fabric is None else fabric
    prepared = prepare(config, processes=fabric.world_size)
    spec = prepared.spec
    network = build_network(config.model, modalities=spec.names, num_classes=spec.classes.num_classes, seed=3)
    method = build_method(
        config.method, network=network, loss=config.loss, pairing=spec.pairing, seed=0, modality_dropout=0.5
    )
    labelled, unlabelled = (
        WindowSource(prepared.datalist, split=split, config=config.data, spec=spec, seed=0)
        for split in ("labelled", "unlabelled")
    )
    parts = make_parts(
        step,
        config=config,
        labelled=labelled,
        unlabelled=unlabelled,
        rank=fabric.global_rank,
        processes=fabric.world_size,
    )
    network.double()
    Stepper(config, method=method, fabric=fabric).take(step, [_in_f64(part) for part in parts])
    return {name: item.grad.clone() for name, item in network.named_parameters() if item.grad is not None}


def _in_f64(part: Part) -> Part:
    labelled, unlabelled = (
        None if batch is None else replace(batch, images={name: item.double() for name, item in batch.images.items()})
        for batch in (part.labelled, part.unlabelled)
    )
    assert labelled is not None
    return replace(part, labelled=labelled, unlabelled=unlabelled)


def relative_difference(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> float:
    """Norm of the difference over the norm, all parameters together."""
    assert a.keys() == b.keys()
    difference = torch.cat([(a[name] - b[name]).flatten() for name in b]).norm()
    return float(difference / torch.cat([item.flatten() for item in b.values()]).norm())


if __name__ == "__main__":
    torch.set_num_threads(1)
    settings = load_config(Path(sys.argv[1]))
    for number in STEPS:
        found = gradients_of(settings, step=number)
        if int(torch.distributed.get_rank()) == 0:
            save_file(found, f"{sys.argv[2]}.{number}")
    train(settings)
