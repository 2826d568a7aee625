"""The arms, and how each is trained from the checkpoint that all of its seed share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from benchmarks.method.batches import draw_batch, read_at
from benchmarks.method.task import CLASSES, GRID, MODALITIES, Patient, Split
from cmc_sdk.errors import TrainingError
from cmc_sdk.training.losses import LossConfig
from cmc_sdk.training.methods import Method, Step, build_method
from cmc_sdk.training.model import CMCNetwork, ModelConfig, build_network

State = dict[str, Tensor]
Scores = dict[str, dict[str, list[float]]]
"""By what is shown ("both" or "alone"), then by modality: mean foreground Dice of each test patient."""

BASE_STEPS = 200
ARM_STEPS = 120
WARMUP_STEPS = 50
BATCH = 2
BASE_LR = 2e-3
ARM_LR = 1e-3
MAX_NORM = 1.0
MODALITY_DROPOUT = 0.25
ALIVE = 0.6
"""A base whose mean Dice on its own three labelled patients is below this has lost a class (which caps it at .5)."""
MAX_TRIES = 5
NETWORK = ModelConfig(backbone="unet3d", width=8, window_vox=GRID)
MEASURED_DEFAULT = LossConfig()


@dataclass(frozen=True)
class Arm:
    """One row of the table."""

    name: str
    data: Literal["registered", "misaligned"]
    method: str
    loss: LossConfig = MEASURED_DEFAULT


ARMS = (
    Arm("supervised-only", "registered", "supervised"),
    Arm("CSC alone (spatial .5)", "registered", "cmc", LossConfig(cac="off")),
    Arm("CAC alone (world .5)", "registered", "cmc", LossConfig(w_csc=0.0)),
    Arm("CSC + CAC (the default)", "registered", "cmc"),
    Arm("Mean Teacher", "registered", "mean_teacher"),
    Arm("CPS", "registered", "cps"),
    Arm("supervised-only", "misaligned", "supervised"),
    Arm("CAC world .5, unasserted", "misaligned", "cmc", LossConfig(cac="world", w_csc=0.0)),
    Arm("moments .5", "misaligned", "cmc", LossConfig(w_csc=0.0)),
)


def make_network(*, seed: int) -> CMCNetwork:
    """The SDK's network with its small U-Net backbone."""
    return build_network(NETWORK, modalities=MODALITIES, num_classes=CLASSES, seed=seed)


def train_base(data: Split, *, seed: int, init_seed: int, steps: int) -> tuple[State, int]:
    """The checkpoint that the arms branch from: supervised, stage 2.

    At this width a class can die in the first steps: all eight ReLU channels of a decoder are 0 where it lies, and no
    gradient reaches them any more. Such a base, told by its Dice on the labelled patients themselves, is trained again
    from the next initial weights.

    Returns:
        The weights, and how many bases were discarded before.
    """
    for attempt in range(MAX_TRIES):
        network = make_network(seed=init_seed + 100 * attempt)
        method = build_method(
            "supervised",
            network=network,
            loss=LossConfig(),
            pairing="registered",
            seed=seed,
            modality_dropout=MODALITY_DROPOUT,
        )
        _run(method, data, seed=seed, first_step=0, steps=steps, stage=2, lr=BASE_LR)
        if min(mean_scores(score(network, data.labelled)).values()) >= ALIVE:
            return dict(network.state_dict()), attempt
    raise TrainingError(
        f"{MAX_TRIES} bases in a row lost a class on their own labelled patients", mend="raise BASE_STEPS or the width"
    )


def train_arm(
    arm: Arm, data: Split, *, seed: int, base: State, partner: State | None, first_step: int, steps: int
) -> CMCNetwork:
    """Stage 3 of one arm from `base`; every arm of a seed draws the same labelled batches."""
    network, second = make_network(seed=seed), None
    network.load_state_dict(base)
    if partner is not None:
        second = make_network(seed=seed)
        second.load_state_dict(partner)
    method = build_method(
        arm.method,
        network=network,
        loss=arm.loss,
        pairing=arm.data,
        seed=seed,
        modality_dropout=MODALITY_DROPOUT,
        partner=second,
    )
    _run(method, data, seed=seed, first_step=first_step, steps=steps, stage=3, lr=ARM_LR)
    return network


def _run(method: Method, data: Split, *, seed: int, first_step: int, steps: int, stage: int, lr: float) -> None:
    optimiser = torch.optim.AdamW(method.parameters(), lr=lr, weight_decay=1e-5)
    for done in range(steps):
        step = first_step + done
        factor = 0.5 + 0.5 * np.cos(np.pi * done / steps) if stage == 3 else min(1.0, (done + 1) / WARMUP_STEPS)
        for group in optimiser.param_groups:
            group["lr"] = lr * factor
        labelled = draw_batch(data.labelled, size=BATCH, seed=seed, step=step, purpose="labelled")
        unlabelled = None
        if stage == 3 and method.traits.learns_from_unlabelled:
            unlabelled = draw_batch(data.unlabelled, size=BATCH, seed=seed, step=step, purpose="unlabelled")
        given = Step(
            labelled=labelled,
            unlabelled=unlabelled,
            stage=stage,
            stage_fraction=done / steps,
            global_fraction=step / (first_step + steps),
            number=step,
            seed=seed,
        )
        optimiser.zero_grad(set_to_none=True)
        method.loss(given).total.backward()
        torch.nn.utils.clip_grad_norm_(list(method.parameters()), MAX_NORM)
        optimiser.step()
        method.after_step()


@torch.no_grad()
def score(network: CMCNetwork, patients: tuple[Patient, ...]) -> Scores:
    """Mean foreground Dice on the original grid, with both modalities shown and with each alone."""
    scores: Scores = {shown: {name: [] for name in MODALITIES} for shown in ("both", "alone")}
    for patient in patients:
        images = {name: patient.images[name][None, None] for name in MODALITIES}
        both = network(images).logits
        for name in MODALITIES:
            presence = torch.tensor([[name == other for other in MODALITIES]])
            alone = network({name: images[name]}, presence=presence).logits
            for shown, logits in (("both", both), ("alone", alone)):
                scores[shown][name].append(_dice(logits[name][0], patient, name))
    return scores


def _dice(logits: Tensor, patient: Patient, name: str) -> float:
    """Logits are read at the original voxels, then argmax; a missed class counts 0."""
    truth = patient.native_labels[name]
    matrix = torch.from_numpy(patient.native_to_window[name].astype(np.float32))
    index = torch.meshgrid(*(torch.arange(size, dtype=torch.float32) for size in truth.shape), indexing="ij")
    voxels = torch.stack(index, dim=-1) @ matrix[:3, :3].T + matrix[:3, 3]
    predicted = read_at(logits, voxels).argmax(dim=0).numpy()
    values = []
    for k in range(1, CLASSES):
        mine, theirs = predicted == k, truth == k
        values.append(2.0 * (mine & theirs).sum() / (mine.sum() + theirs.sum()))
    return float(np.mean(values))


def mean_scores(scores: Mapping[str, Mapping[str, list[float]]]) -> dict[str, float]:
    """Mean over patients by "shown/modality"."""
    return {f"{shown}/{name}": float(np.mean(v)) for shown, by in scores.items() for name, v in by.items()}
