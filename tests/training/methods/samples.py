"""Small networks, batches and optimiser steps for the tests of the methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cmc_sdk.training.data.batch import Batch
from cmc_sdk.training.losses import LossConfig
from cmc_sdk.training.methods import LossTerms, Method, Step, build_method
from cmc_sdk.training.model import CMCNetwork, ModelConfig, build_network

torch.set_num_threads(1)

LATE = 0.9


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Normal noise of a shape, by its own generator."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def cnn(modalities: Sequence[str] = ("ct", "mr"), *, width: int = 4, seed: int = 0) -> CMCNetwork:
    """The small CNN: `unet3d` on 16³ windows, three classes."""
    config = ModelConfig(backbone="unet3d", width=width, window_vox=16)
    return build_network(config, modalities=modalities, num_classes=3, seed=seed)


def transformer(*, seed: int = 0) -> CMCNetwork:
    """The smallest transformer, on 16³ windows, with everything frozen that a public checkpoint would freeze."""
    network = build_network(
        ModelConfig(preset="tiny", window_vox=16), modalities=("ct", "mr"), num_classes=3, seed=seed
    )
    for encoder in network.encoders:
        encoder.freeze(train_mlp=True)
    return network


def batch(network: CMCNetwork, *, size: int = 2, seed: int = 0, labels: bool = True) -> Batch:
    """Related images of blobs, and labels that follow them."""
    edge = network.window_vox[0]
    truth = torch.nn.functional.avg_pool3d(noise(size, 1, edge, edge, edge, seed=seed), 5, stride=1, padding=2)
    target = (truth[:, 0] > 0.05).long() + (truth[:, 0] > 0.15).long()
    images = {
        name: (1.0 if place % 2 == 0 else -0.7) * truth * 8 + 0.3 * noise(*truth.shape, seed=seed + place + 1)
        for place, name in enumerate(network.modalities)
    }
    return Batch(
        images=images,
        labels={name: target.clone() for name in network.modalities} if labels else {},
        presence=torch.ones(size, len(network.modalities), dtype=torch.bool),
        body={
            name: torch.eye(3, 4).expand(size, 3, 4) * (1 + 0.2 * place) / edge
            for place, name in enumerate(network.modalities)
        },
        cases=tuple(f"case{seed}-{index}" for index in range(size)),
    )


def rows(given: Batch, chosen: slice) -> Batch:
    """Part of a batch."""

    def cut(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor[chosen] for name, tensor in tensors.items()}

    return Batch(
        images=cut(given.images),
        labels=cut(given.labels),
        presence=given.presence[chosen],
        body=cut(given.body),
        cases=given.cases[chosen],
    )


def method(
    network: CMCNetwork,
    name: str = "cmc",
    *,
    dropout: float = 0.0,
    partner: CMCNetwork | None = None,
    **loss: object,
) -> Method:
    """`build_method` for registered data with `LossConfig` fields given by name."""
    return build_method(
        name,
        network=network,
        loss=LossConfig.model_validate(loss),
        pairing="registered",
        seed=0,
        modality_dropout=dropout,
        partner=partner,
    )


def loss_of(
    given: Method,
    labelled: Batch,
    unlabelled: Batch | None,
    *,
    stage_fraction: float = LATE,
    global_fraction: float = LATE,
    number: int = 5,
    stage: int = 3,
    first_sample: int = 0,
) -> LossTerms:
    """The loss of a late step, unless another one is asked for, with seed 0."""
    step = Step(
        labelled=labelled,
        unlabelled=unlabelled,
        stage=stage,
        stage_fraction=stage_fraction,
        global_fraction=global_fraction,
        number=number,
        seed=0,
        first_sample=first_sample,
    )
    return given.loss(step)


def train(given: Method, *, steps: int, stage: int = 3) -> list[dict[str, float]]:
    """Some optimiser steps on changing batches; returns what was logged."""
    optimiser = torch.optim.AdamW(given.parameters(), lr=1e-3)
    logged = []
    for step in range(steps):
        labelled = batch(given.network, size=1, seed=10 * step)
        unlabelled = batch(given.network, size=1, seed=10 * step + 5, labels=False)
        behind = step / steps
        optimiser.zero_grad()
        terms = loss_of(
            given, labelled, unlabelled, stage_fraction=behind, global_fraction=behind, number=step, stage=stage
        )
        terms.total.backward()
        optimiser.step()
        given.after_step()
        logged.append(terms.logged)
    return logged


def gradients(given: Method, terms: LossTerms) -> dict[str, Tensor]:
    """Gradients of the network's parameters by name; those without one are left out."""
    given.network.zero_grad(set_to_none=True)
    terms.total.backward()
    return {name: item.grad.clone() for name, item in given.network.named_parameters() if item.grad is not None}


def same_weights(one: CMCNetwork, other: CMCNetwork) -> bool:
    """Whether two networks' weights are equal bit for bit."""
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())
