"""Cross pseudo supervision (Chen et al., 2021): two networks teach each other with hard labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from cmc_sdk.training.data.batch import Batch
from cmc_sdk.training.losses import ResolvedLoss, foreground_ratio, scheduled, supervised_loss
from cmc_sdk.training.methods.base import LossTerms, Method, MethodSettings, Step, Traits
from cmc_sdk.training.methods.mean_teacher import load_prefixed
from cmc_sdk.training.methods.presence import mean_over_shown, shown_modalities
from cmc_sdk.training.methods.supervised import Supervised, labelled_loss
from cmc_sdk.training.model import CMCNetwork, build_network

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
    traits = Traits(learns_from_unlabelled=True, needs_equal_batches=True, trains_partner=True)

    def __init__(
        self, network: CMCNetwork, *, partner: CMCNetwork, loss: ResolvedLoss, modality_dropout: float
    ) -> None:
        super().__init__(network, modality_dropout=modality_dropout)
        self.partner = partner
        self.settings = loss

    @classmethod
    def build(cls, network: CMCNetwork, *, settings: MethodSettings) -> Method:
        """CPS with the partner of `settings`, or one of the same architecture from the run's seed + 1."""
        partner = settings.partner
        if partner is None:
            partner = build_network(
                network.config, modalities=network.modalities, num_classes=network.num_classes, seed=settings.seed + 1
            ).to(next(network.parameters()).device)
        return CrossPseudoSupervision(
            network, partner=partner, loss=settings.loss, modality_dropout=settings.modality_dropout
        )

    def loss(self, step: Step) -> LossTerms:
        """The loss of one step, of both networks together."""
        presence, fuse = self._shown(step), step.stage > 1
        first = labelled_loss(self.network, step.labelled, presence=presence, fuse=fuse).loss
        second = labelled_loss(self.partner, step.labelled, presence=presence, fuse=fuse).loss
        total = first + second
        logged = self._logged(first, stage=step.stage) | {"supervised_partner": float(second.detach())}
        weight = self._weight(step)
        if step.stage < 3 or step.unlabelled is None or weight == 0:
            return LossTerms(total=total, logged=logged)
        cross = self._cross_term(step.unlabelled, logged=logged)
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
        names = shown_modalities(batch, presence=batch.presence, modalities=self.network.modalities)
        images = {name: batch.images[name] for name in names}
        one = self.network(images, presence=batch.presence).logits
        two = self.partner(images, presence=batch.presence).logits
        terms = []
        for name in names:
            towards_one = supervised_loss(two[name], one[name].detach().argmax(dim=1), reduction="none")
            towards_two = supervised_loss(one[name], two[name].detach().argmax(dim=1), reduction="none")
            terms.append(towards_one + towards_two)
            logged[f"foreground_ratio/{name}"] = foreground_ratio(one[name])
        shown = [batch.presence[:, self.network.modalities.index(name)] for name in names]
        return mean_over_shown(terms, shown)

    def _weight(self, step: Step) -> float:
        t = step.time(self.settings.clock)
        return self.settings.w_cps * scheduled("rampup", t, ramp_fraction=self.settings.ramp_fraction).cac
