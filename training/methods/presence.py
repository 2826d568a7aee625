"""Which modalities each sample shows to the network: modality dropout, and running a batch of mixed presence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cmc_sdk.errors import DataError
from cmc_sdk.training.data.batch import Batch
from cmc_sdk.training.data.randomness import random_generator

__all__ = ["Group", "drop_modalities", "presence_groups"]


@dataclass(frozen=True)
class Group:
    """Samples of a batch that show the same modalities.

    Args:
        index: Their places in the batch, (b,) int64.
        names: The present modalities, in the network's order.
        images: By present modality, (b, 1, X, Y, Z).
        presence: (b, M) bool, rows equal.
    """

    index: Tensor
    names: tuple[str, ...]
    images: dict[str, Tensor]
    presence: Tensor


def drop_modalities(presence: Tensor, *, probability: float, seed: int, step: int, first_sample: int = 0) -> Tensor:
    """Modality dropout: with `probability` a sample loses one of its modalities at random, never all.

    Args:
        presence: (B, M) bool.
        probability: In [0, 1].
        seed: The run's seed.
        step: Optimiser step.
        first_sample: Number of the batch's first sample within the step.

    Returns:
        (B, M) bool, a new tensor; sample i's row depends on (seed, step, first_sample + i) only.
    """
    kept = presence.clone()
    for row in range(kept.shape[0]):
        draw = random_generator(seed, step=step, sample=first_sample + row, purpose="modality_dropout")
        shown = torch.nonzero(kept[row]).flatten().tolist()
        if draw.random() < probability and len(shown) > 1:
            kept[row, shown[int(draw.integers(len(shown)))]] = False
    return kept


def presence_groups(batch: Batch, *, presence: Tensor, modalities: Sequence[str]) -> list[Group]:
    """Split a batch into groups of equal presence, so that nothing of a lost modality is ever computed.

    Args:
        batch: The batch.
        presence: (B, M) bool, the batch's own or after dropout.
        modalities: The network's, in its order.

    Raises:
        DataError: A sample has no modality at all.
    """
    rows = [tuple(bool(value) for value in row) for row in presence.tolist()]
    groups = []
    for pattern in sorted(set(rows), reverse=True):
        members = [place for place, row in enumerate(rows) if row == pattern]
        names = tuple(name for name, shown in zip(modalities, pattern, strict=True) if shown)
        if not names:
            raise DataError(
                f"case {batch.cases[members[0]]} has none of the modalities {list(modalities)}",
                mend="give it an image or take it off the data list",
            )
        index = torch.tensor(members, device=presence.device)
        images = {name: batch.images[name][index] for name in names}
        groups.append(Group(index=index, names=names, images=images, presence=presence[index]))
    return groups
