"""CMC itself: the supervised loss plus cross-modal semantic (CSC) and anatomical (CAC) consistency."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
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
from cmc_sdk.training.methods.presence import Group, presence_groups
from cmc_sdk.training.methods.protocol import Clock, LossTerms
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

    def __init__(self, network: CMCNetwork, *, loss: ResolvedLoss, modality_dropout: float) -> None:
        super().__init__(network, modality_dropout=modality_dropout)
        self.settings = loss

    def loss(
        self,
        labelled: Batch,
        unlabelled: Batch | None,
        *,
        clock: Clock,
        stage: int,
        generator_seed: int,
        first_sample: int = 0,
    ) -> LossTerms:
        """The loss of one step; see `Method.loss`."""
        presence = self._shown(labelled, clock=clock, stage=stage, seed=generator_seed, first_sample=first_sample)
        terms = labelled_loss(self.network, labelled, presence=presence, fuse=stage > 1)
        total, logged = terms.loss, self._logged(terms.loss, stage=stage)
        w_csc, w_cac = self._weights(clock)
        if stage < 3 or unlabelled is None or w_csc == w_cac == 0:
            return LossTerms(total=total, logged=logged)
        with torch.no_grad() if self.settings.as_released else contextlib.nullcontext():
            found = self._unlabelled_terms(unlabelled, csc=w_csc > 0, cac=w_cac > 0)
            if found.csc is not None and self.settings.csc_on_labelled:
                count = labelled.presence.shape[0]
                found.csc = 0.5 * (found.csc + self._mean_csc(terms.outputs, count=count))
        for name, weight, value in (("csc", w_csc, found.csc), ("cac", w_cac, found.cac)):
            if value is not None:
                total = total + weight * value
                logged |= {name: float(value.detach()), f"w_{name}": weight}
        return LossTerms(total=total, logged=logged | found.logged)

    def _weights(self, clock: Clock) -> tuple[float, float]:
        t = clock.stage_fraction if self.settings.clock == "stage" else clock.global_fraction
        factor = scheduled(self.settings.schedule, t, ramp_fraction=self.settings.ramp_fraction)
        w_cac = 0.0 if self.settings.cac == "off" else self.settings.w_cac
        return self.settings.w_csc * factor.csc, w_cac * factor.cac

    def _unlabelled_terms(self, batch: Batch, *, csc: bool, cac: bool) -> _Consistency:
        """Run the samples that have a pair of modalities; without `cac` nothing after the encoders is run."""
        found = _Consistency()
        outputs: list[tuple[Group, NetworkOutput]] = []
        for group in presence_groups(batch, presence=batch.presence, modalities=self.network.modalities):
            if len(group.names) > 1:
                decode = group.names if cac else ()
                output = self.network(group.images, presence=group.presence, decode=decode, fuse=cac)
                outputs.append((group, output))
        count = batch.presence.shape[0]
        if csc:
            found.csc = self._mean_csc(outputs, count=count)
        if cac:
            found.cac = self._mean_cac(outputs, batch=batch, count=count)
        for _, output in outputs[:1]:  # the first group stands for the batch: these are for a person to look at
            found.logged |= {f"channel_variance/{m}": channel_variance(item) for m, item in output.features.items()}
            found.logged |= {f"foreground_ratio/{m}": foreground_ratio(item) for m, item in output.logits.items()}
        return found

    def _mean_csc(self, outputs: Iterable[tuple[Group, NetworkOutput]], *, count: int) -> Tensor:
        total = torch.zeros((), device=_device(self.network))
        for group, output in outputs:
            pairs = list(combinations(group.names, 2))
            for a, b in pairs:
                term = csc_loss(
                    output.features[a],
                    output.features[b],
                    self.settings.csc_descriptor,
                    temperature=self.settings.csc_temperature,
                    reduction="none",
                )
                total = total + term.sum() / len(pairs)
        return total / count

    def _mean_cac(self, outputs: Iterable[tuple[Group, NetworkOutput]], *, batch: Batch, count: int) -> Tensor:
        total = torch.zeros((), device=_device(self.network))
        for group, output in outputs:
            prob = {name: torch.softmax(output.logits[name].float(), dim=1) for name in group.names}
            body = {name: batch.body[name][group.index] for name in group.names if name in batch.body}
            pairs = list(combinations(group.names, 2))
            for a, b in pairs:
                if self.settings.cac == "moments":
                    term = moments_loss(prob[a], prob[b], body_a=body[a], body_b=body[b], reduction="none")
                else:
                    term = cac_loss(prob[a], prob[b], reduction="none")
                total = total + term.sum() / len(pairs)
        return total / count


def _device(network: CMCNetwork) -> torch.device:
    return next(network.parameters()).device
