"""Cross pseudo supervision (Chen et al., 2021): two networks teach each other with hard labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from cmc_sdk.training.data.batch import Batch
from cmc_sdk.training.losses import ResolvedLoss, foreground_ratio, scheduled, supervised_loss
from cmc_sdk.training.methods.mean_teacher import load_prefixed
from cmc_sdk.training.methods.presence import presence_groups
from cmc_sdk.training.methods.protocol import Clock, LossTerms
from cmc_sdk.training.methods.supervised import Supervised, labelled_loss
from cmc_sdk.training.model import CMCNetwork

__all__ = ["CrossPseudoSupervision"]


class CrossPseudoSupervision(Supervised):
    """L = Σ_n L_sup(n) + w(t) · Σ_n mean_b mean_m DiceCE(logits^m(n), argmax logits^m(other)), n the two networks.

    The pseudo labels get no gradient. Both networks see the same samples; they differ by their initial weights only.
    The first network is what is validated and deployed. w(t) rises as in `schedule: rampup`.

    Args:
        network: The first network, trained in place.
        partner: The second: the same architecture, other weights, trained in place.
        loss: Complete settings of the losses: `w_cps`, `ramp_fraction`, `clock` are read.
        modality_dropout: Probability that a labelled sample loses one modality, the same one for both networks.
    """

    name = "cps"

    def __init__(
        self, network: CMCNetwork, *, partner: CMCNetwork, loss: ResolvedLoss, modality_dropout: float
    ) -> None:
        super().__init__(network, modality_dropout=modality_dropout)
        self.partner = partner
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
        """The loss of one step, of both networks together; see `Method.loss`."""
        presence = self._shown(labelled, clock=clock, stage=stage, seed=generator_seed, first_sample=first_sample)
        first = labelled_loss(self.network, labelled, presence=presence, fuse=stage > 1).loss
        second = labelled_loss(self.partner, labelled, presence=presence, fuse=stage > 1).loss
        total = first + second
        logged = self._logged(first, stage=stage) | {"supervised_partner": float(second.detach())}
        weight = self._weight(clock)
        if stage < 3 or unlabelled is None or weight == 0:
            return LossTerms(total=total, logged=logged)
        cross = self._cross_term(unlabelled, logged=logged)
        logged |= {"cps": float(cross.detach()), "w_cps": weight}
        return LossTerms(total=total + weight * cross, logged=logged)

    def parameters(self) -> Iterator[nn.Parameter]:
        """The trainable parameters of both networks, the first network's first."""
        return iter([*self.network.trainable_parameters(), *self.partner.trainable_parameters()])

    def extra_state(self) -> dict[str, Tensor]:
        """The partner's weights."""
        return {f"partner.{name}": value for name, value in self.partner.state_dict().items()}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore the partner."""
        load_prefixed(self.partner, state, prefix="partner.")

    def _cross_term(self, batch: Batch, *, logged: dict[str, float]) -> Tensor:
        total = torch.zeros((), device=batch.presence.device)
        for group in presence_groups(batch, presence=batch.presence, modalities=self.network.modalities):
            one = self.network(group.images, presence=group.presence, decode=group.names).logits
            two = self.partner(group.images, presence=group.presence, decode=group.names).logits
            for name in group.names:
                for logits, other in ((one[name], two[name]), (two[name], one[name])):
                    term = supervised_loss(logits, other.detach().argmax(dim=1), reduction="none")
                    total = total + term.sum() / len(group.names)
                logged[f"foreground_ratio/{name}"] = foreground_ratio(one[name])
        return total / batch.presence.shape[0]

    def _weight(self, clock: Clock) -> float:
        t = clock.stage_fraction if self.settings.clock == "stage" else clock.global_fraction
        return self.settings.w_cps * scheduled("rampup", t, ramp_fraction=self.settings.ramp_fraction).cac
