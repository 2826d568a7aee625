"""Supervised-only: the labelled part that every method shares, and the method that is nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from cmc_sdk.training.data.batch import Batch
from cmc_sdk.training.losses import supervised_loss
from cmc_sdk.training.methods.base import LossTerms, Method, MethodSettings, Step, Traits
from cmc_sdk.training.methods.presence import drop_modalities, mean_over_shown, shown_modalities
from cmc_sdk.training.model import CMCNetwork, NetworkOutput

__all__ = ["LabelledTerms", "Supervised", "labelled_loss"]


@dataclass(frozen=True)
class LabelledTerms:
    """The supervised loss of a batch, and what it was computed from.

    Args:
        loss: L_sup, a scalar.
        output: Of the network.
        presence: (B, M) bool, what the network was shown.
    """

    loss: Tensor
    output: NetworkOutput
    presence: Tensor


def labelled_loss(network: CMCNetwork, batch: Batch, *, presence: Tensor, fuse: bool) -> LabelledTerms:
    """L_sup: the mean over samples of each sample's mean over its shown modalities.

        L_sup = (1/B) Σ_b (1/|M_b|) Σ_{m ∈ M_b} DiceCE(logits^m_b, y^m_b)

    For two modalities that both show this is ½ Σ_m DiceCE. The decoder of a lost modality is not run.

    Args:
        network: The network.
        batch: With labels of every modality that a sample has.
        presence: (B, M) bool, after modality dropout.
        fuse: False in stage 1: every modality alone, without MIA and fusion.
    """
    names = shown_modalities(batch, presence=presence, modalities=network.modalities)
    output = network({name: batch.images[name] for name in names}, presence=presence, fuse=fuse)
    terms = [supervised_loss(output.logits[name], batch.labels[name], reduction="none") for name in names]
    shown = [presence[:, network.modalities.index(name)] for name in names]
    return LabelledTerms(loss=mean_over_shown(terms, shown), output=output, presence=presence)


class Supervised(Method):
    """Train on the labelled samples only: the row that every other method is compared with, and their common base.

    Args:
        network: Trained in place.
        modality_dropout: Probability that a labelled sample loses one modality in stages 2 and 3.
    """

    name = "supervised"
    traits = Traits(may_branch=True)

    def __init__(self, network: CMCNetwork, *, modality_dropout: float) -> None:
        super().__init__(network)
        self.modality_dropout = modality_dropout

    @classmethod
    def build(cls, network: CMCNetwork, *, settings: MethodSettings) -> Method:
        """Supervised-only: of the settings it reads the dropout."""
        return Supervised(network, modality_dropout=settings.modality_dropout)

    def loss(self, step: Step) -> LossTerms:
        """The supervised loss; `unlabelled` is not read."""
        terms = labelled_loss(self.network, step.labelled, presence=self._shown(step), fuse=step.stage > 1)
        return LossTerms(total=terms.loss, logged=self._logged(terms.loss, stage=step.stage))

    def _shown(self, step: Step) -> Tensor:
        """Presence after modality dropout; in stage 1 every modality runs alone anyway, so none is dropped."""
        if step.stage == 1:
            return step.labelled.presence
        return drop_modalities(
            step.labelled.presence,
            probability=self.modality_dropout,
            seed=step.seed,
            step=step.number,
            first_sample=step.first_sample,
        )

    def _logged(self, supervised: Tensor, *, stage: int) -> dict[str, float]:
        logged = {"supervised": float(supervised.detach())}
        if stage > 1:
            logged |= {f"mia/{name}": value for name, value in self.network.mia_statistics().items()}
        return logged
