"""Mean Teacher (Tarvainen and Valpola, 2017): agree with a moving average of oneself on a milder view."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from cmc_sdk.errors import CheckpointError
from cmc_sdk.training.losses import ResolvedLoss, foreground_ratio, scheduled
from cmc_sdk.training.methods.base import LossTerms, Method, MethodSettings, Step, Traits
from cmc_sdk.training.methods.perturb import STRONG, WEAK, perturb
from cmc_sdk.training.methods.presence import mean_over_shown, shown_modalities
from cmc_sdk.training.methods.supervised import Supervised
from cmc_sdk.training.model import CMCNetwork

__all__ = ["MeanTeacher"]


class MeanTeacher(Supervised):
    """L = L_sup + w(t) · mean_b mean_m mean_voxels Σ_k (p^m_k − q^m_k)², on unlabelled samples in stage 3.

    p is the network's softmax on a strongly perturbed view, q the teacher's on a weakly perturbed one; the views differ
    in intensity only. The teacher is the moving average of the network's weights and gets no gradient; the network is
    what is validated and deployed. w(t) rises as in `schedule: rampup`.

    Args:
        network: The student, trained in place.
        loss: Complete settings of the losses: `w_mean_teacher`, `ema_decay`, `ramp_fraction`, `clock` are read.
        modality_dropout: Probability that a labelled sample loses one modality.
    """

    name = "mean_teacher"
    traits = Traits(learns_from_unlabelled=True, needs_equal_batches=True)

    def __init__(self, network: CMCNetwork, *, loss: ResolvedLoss, modality_dropout: float) -> None:
        super().__init__(network, modality_dropout=modality_dropout)
        self.settings = loss
        self.teacher = copy.deepcopy(network).requires_grad_(False)
        self.updates = 0

    @classmethod
    def build(cls, network: CMCNetwork, *, settings: MethodSettings) -> Method:
        """Mean Teacher with the losses and the dropout of `settings`."""
        return MeanTeacher(network, loss=settings.loss, modality_dropout=settings.modality_dropout)

    def loss(self, step: Step) -> LossTerms:
        """The loss of one step."""
        terms = super().loss(step)
        weight, unlabelled = self._weight(step), step.unlabelled
        if step.stage < 3 or unlabelled is None or weight == 0:
            return terms
        names = shown_modalities(unlabelled, presence=unlabelled.presence, modalities=self.network.modalities)
        views = {
            view: {
                name: perturb(
                    unlabelled.images[name],
                    strength=strength,
                    seed=step.seed,
                    step=step.number,
                    purpose=f"{view}/{name}",
                    first_sample=step.first_sample,
                )
                for name in names
            }
            for view, strength in (("teacher_view", WEAK), ("student_view", STRONG))
        }
        with torch.no_grad():
            target = self.teacher(views["teacher_view"], presence=unlabelled.presence)
        output = self.network(views["student_view"], presence=unlabelled.presence)
        squared = []
        for name in names:
            p = torch.softmax(output.logits[name].float(), dim=1)
            q = torch.softmax(target.logits[name].float(), dim=1)
            squared.append((p - q).square().sum(dim=1).flatten(1).mean(dim=1))
        shown = [unlabelled.presence[:, self.network.modalities.index(name)] for name in names]
        consistency = mean_over_shown(squared, shown)
        logged = terms.logged | {"mean_teacher": float(consistency.detach()), "w_mean_teacher": weight}
        logged |= {f"foreground_ratio/{name}": foreground_ratio(output.logits[name]) for name in names}
        return LossTerms(total=terms.total + weight * consistency, logged=logged)

    @torch.no_grad()
    def after_step(self) -> None:
        """θ_teacher ← α θ_teacher + (1 − α) θ, α = min(ema_decay, 1 − 1 / (updates + 1))."""
        self.updates += 1
        decay = min(self.settings.ema_decay, 1.0 - 1.0 / self.updates)
        for mean, value in zip(self.teacher.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(value, 1.0 - decay)

    def extra_state(self) -> dict[str, Tensor]:
        """The teacher's weights and the number of its updates."""
        state = {f"teacher.{name}": value for name, value in self.teacher.state_dict().items()}
        return state | {"updates": torch.tensor(self.updates)}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore the teacher."""
        self.updates = int(load_prefixed(self.teacher, state, prefix="teacher.", also=("updates",))["updates"])

    def _weight(self, step: Step) -> float:
        t = step.time(self.settings.clock)
        return self.settings.w_mean_teacher * scheduled("rampup", t, ramp_fraction=self.settings.ramp_fraction).cac


def load_prefixed(
    network: CMCNetwork, state: Mapping[str, Tensor], *, prefix: str, also: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Load the tensors under `prefix` into `network`, all of them, and return those named in `also`.

    Raises:
        CheckpointError: A tensor is missing, left over or of another shape.
    """
    inner = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    expected = network.state_dict()
    wrong = sorted(set(inner) ^ set(expected)) + [
        name for name in inner if name in expected and inner[name].shape != expected[name].shape
    ]
    others = {name: value for name, value in state.items() if not name.startswith(prefix)}
    wrong += sorted(set(others) ^ set(also))
    if wrong:
        raise CheckpointError(
            f"the checkpoint's state of the method does not fit: {wrong[0]} and {len(wrong) - 1} more",
            mend="resume with the method and the network that wrote it",
        )
    network.load_state_dict(inner)
    return others
