"""CMC itself: the supervised loss plus cross-modal semantic (CSC) and anatomical (CAC) consistency."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from cmc_sdk.training.data.batch import Batch
from cmc_sdk.training.losses import (
    ResolvedLoss,
    cac_loss,
    channel_variance,
    csc_loss,
    foreground_ratio,
    moments_loss,
    scheduled,
)
from cmc_sdk.training.methods.base import LossTerms, Method, MethodSettings, Step, Traits
from cmc_sdk.training.methods.presence import mean_over_shown, shown_modalities
from cmc_sdk.training.methods.supervised import Supervised, labelled_loss
from cmc_sdk.training.model import CMCNetwork, NetworkOutput

__all__ = ["CMC"]


@dataclass
class _Consistency:
    """CSC and CAC of a batch, None where the weight is 0 and the term was not computed."""

    csc: Tensor | None = None
    cac: Tensor | None = None
    logged: dict[str, float] = field(default_factory=dict)


class CMC(Supervised):
    """L = L_sup + w_csc(t)·L_CSC + w_cac(t)·L_CAC, the last two on unlabelled samples in stage 3 (paper, section 2.4).

    With M modalities the consistency terms are averaged over a sample's pairs, then over samples. A term whose weight
    is 0 is not computed, so the step is then the supervised one, bit for bit. With `as_released` both terms are
    computed under `no_grad`, as the published code does, and nothing else differs: its weights follow supervised-only.

    Args:
        network: Trained in place.
        loss: Complete settings of the losses.
        modality_dropout: Probability that a labelled sample loses one modality. Unlabelled samples show all they have:
            the terms compare modalities.
    """

    name = "cmc"
    traits = Traits(learns_from_unlabelled=True, needs_pairs=True, has_consistency_terms=True, may_branch=True)

    def __init__(self, network: CMCNetwork, *, loss: ResolvedLoss, modality_dropout: float) -> None:
        super().__init__(network, modality_dropout=modality_dropout)
        self.settings = loss

    @classmethod
    def build(cls, network: CMCNetwork, *, settings: MethodSettings) -> Method:
        """CMC with the losses and the dropout of `settings`."""
        return CMC(network, loss=settings.loss, modality_dropout=settings.modality_dropout)

    def loss(self, step: Step) -> LossTerms:
        """The loss of one step."""
        terms = labelled_loss(self.network, step.labelled, presence=self._shown(step), fuse=step.stage > 1)
        total, logged = terms.loss, self._logged(terms.loss, stage=step.stage)
        w_csc, w_cac = self._weights(step)
        if step.stage < 3 or step.unlabelled is None or w_csc == w_cac == 0:
            return LossTerms(total=total, logged=logged)
        with torch.no_grad() if self.settings.as_released else contextlib.nullcontext():
            found = self._unlabelled_terms(step.unlabelled, csc=w_csc > 0, cac=w_cac > 0)
            if found.csc is not None and self.settings.csc_on_labelled and len(terms.output.features) > 1:
                found.csc = 0.5 * (found.csc + self._mean_csc(terms.output, presence=terms.presence))
        for name, weight, value in (("csc", w_csc, found.csc), ("cac", w_cac, found.cac)):
            if value is not None:
                total = total + weight * value
                logged |= {name: float(value.detach()), f"w_{name}": weight}
        return LossTerms(total=total, logged=logged | found.logged)

    def _weights(self, step: Step) -> tuple[float, float]:
        t = step.time(self.settings.clock)
        factor = scheduled(self.settings.schedule, t, ramp_fraction=self.settings.ramp_fraction)
        w_cac = 0.0 if self.settings.cac == "off" else self.settings.w_cac
        return self.settings.w_csc * factor.csc, w_cac * factor.cac

    def _unlabelled_terms(self, batch: Batch, *, csc: bool, cac: bool) -> _Consistency:
        """CSC and CAC of a batch; without `cac` nothing after the encoders is run."""
        names = shown_modalities(batch, presence=batch.presence, modalities=self.network.modalities)
        if len(names) < 2:
            return _Consistency()
        images = {name: batch.images[name] for name in names}
        output = self.network(images, presence=batch.presence, decode=names if cac else (), fuse=cac)
        found = _Consistency()
        if csc:
            found.csc = self._mean_csc(output, presence=batch.presence)
        if cac:
            found.cac = self._mean_cac(output, batch=batch)
        found.logged |= {f"channel_variance/{name}": channel_variance(item) for name, item in output.features.items()}
        found.logged |= {f"foreground_ratio/{name}": foreground_ratio(item) for name, item in output.logits.items()}
        return found

    def _mean_csc(self, output: NetworkOutput, *, presence: Tensor) -> Tensor:
        def term(a: str, b: str) -> Tensor:
            return csc_loss(
                output.features[a],
                output.features[b],
                self.settings.csc_descriptor,
                temperature=self.settings.csc_temperature,
                reduction="none",
            )

        return self._mean_over_pairs(term, names=tuple(output.features), presence=presence)

    def _mean_cac(self, output: NetworkOutput, *, batch: Batch) -> Tensor:
        prob = {name: torch.softmax(logits.float(), dim=1) for name, logits in output.logits.items()}

        def term(a: str, b: str) -> Tensor:
            if self.settings.cac == "moments":
                return moments_loss(prob[a], prob[b], body_a=batch.body[a], body_b=batch.body[b], reduction="none")
            return cac_loss(prob[a], prob[b], reduction="none")

        return self._mean_over_pairs(term, names=tuple(prob), presence=batch.presence)

    def _mean_over_pairs(
        self, term: Callable[[str, str], Tensor], *, names: tuple[str, ...], presence: Tensor
    ) -> Tensor:
        """Mean over samples of a sample's mean over the pairs of which it shows both."""
        column = {name: presence[:, index] for index, name in enumerate(self.network.modalities)}
        pairs = list(combinations(names, 2))
        return mean_over_shown([term(a, b) for a, b in pairs], [column[a] & column[b] for a, b in pairs])
