"""Which modalities each sample shows to the network: modality dropout, and averages over what is shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cmc_sdk.errors import DataError
from cmc_sdk.training.data.batch import Batch
from cmc_sdk.training.data.randomness import random_generator

__all__ = ["drop_modalities", "mean_over_shown", "shown_modalities"]


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


def shown_modalities(batch: Batch, *, presence: Tensor, modalities: Sequence[str]) -> tuple[str, ...]:
    """The modalities that at least one sample shows: what the network is given and decodes.

    Args:
        batch: For the message only.
        presence: (B, M) bool, the batch's own or after dropout.
        modalities: The network's, in its order.

    Raises:
        DataError: A sample has no modality at all.
    """
    for row, shown in enumerate(presence.any(dim=1).tolist()):
        if not shown:
            raise DataError(
                f"case {batch.cases[row]} has none of the modalities {list(modalities)}",
                mend="give it an image or take it off the data list",
            )
    return tuple(name for name, shown in zip(modalities, presence.any(dim=0).tolist(), strict=True) if shown)


def mean_over_shown(terms: Sequence[Tensor], shown: Sequence[Tensor]) -> Tensor:
    """Mean over samples of each sample's mean over the terms that it shows; 0 from a sample that shows none.

        (1/B) Σ_b (1/|S_b|) Σ_{i ∈ S_b} terms[i][b],   S_b = { i : shown[i][b] }

    Dividing by B, whatever is shown, keeps the gradients of a split batch those of the whole.

    Args:
        terms: One (B,) tensor per modality or pair of modalities; what a sample does not show is never read.
        shown: One (B,) bool tensor per term.
    """
    mask = torch.stack(list(shown))
    values = torch.where(mask, torch.stack(list(terms)), 0.0)
    return (values.sum(dim=0) / mask.sum(dim=0).clamp(min=1)).mean()
