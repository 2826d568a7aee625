"""One optimiser step: batches, loss, gradients over all processes, AdamW. What it does depends on the step alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from lightning_fabric import Fabric
from torch import nn

from cmc_sdk.errors import TrainingError
from cmc_sdk.training.data import Batch, WindowSource
from cmc_sdk.training.engine.config import OptimiserConfig, TrainConfig
from cmc_sdk.training.engine.gradients import average_gradients, first_not_finite, gradient_norm, scale_gradients
from cmc_sdk.training.engine.schedule import Position, learning_rate, position
from cmc_sdk.training.methods import LossTerms, Method, Step

__all__ = ["Part", "StepResult", "Stepper", "build_optimiser", "make_parts"]

_MOST_SKIPS = 20  # fp16's scaler halves its scale at each: 2^20 lower, and it is no overflow any more


@dataclass(frozen=True)
class Part:
    """The share of a step's samples that goes through the network at once.

    Args:
        first_sample: Number of its first labelled sample within the whole step.
        labelled: Windows with labels.
        unlabelled: Windows without, in stage 3 of a method that learns from them.
    """

    first_sample: int
    labelled: Batch
    unlabelled: Batch | None


@dataclass(frozen=True)
class StepResult:
    """What a step did, in this process.

    Args:
        position: Where it stands.
        lr: Its learning rate.
        loss: The mean over this process's parts.
        logged: The method's terms and quantities to watch, mean over the parts.
        gradient_norm: Over all processes, before clipping.
    """

    position: Position
    lr: float
    loss: float
    gradient_norm: float
    logged: dict[str, float] = field(default_factory=dict)


def make_parts(
    step: int,
    *,
    config: TrainConfig,
    labelled: WindowSource,
    unlabelled: WindowSource | None,
    rank: int,
    processes: int,
) -> list[Part]:
    """The parts of `step` that process `rank` works on: a pure function of its arguments.

    The samples of a step are numbered over all processes and parts, and each sample's draws depend on its number, so
    any division gives the same samples.
    """
    parts = processes * config.accumulate
    with_unlabelled = unlabelled is not None and position(step, stages=config.stages).stage == 3
    found = []
    for part in range(rank * config.accumulate, (rank + 1) * config.accumulate):
        mine = _share(config.data.labelled_batch, part=part, parts=parts)
        batch = labelled.batch(step, size=config.data.labelled_batch, samples=mine)
        other = None
        if with_unlabelled and unlabelled is not None:
            theirs = _share(config.data.unlabelled_batch, part=part, parts=parts)
            other = unlabelled.batch(step, size=config.data.unlabelled_batch, samples=theirs)
        found.append(Part(first_sample=mine[0], labelled=batch, unlabelled=other))
    return found


def build_optimiser(parameters: Iterable[nn.Parameter], *, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW; weights of two or more axes decay, the rest (biases, norms, scalars) does not."""
    wide: list[nn.Parameter] = []
    narrow: list[nn.Parameter] = []
    for item in parameters:
        (wide if item.ndim > 1 else narrow).append(item)
    groups: list[dict[str, object]] = [
        {"params": wide, "weight_decay": config.weight_decay},
        {"params": narrow, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.lr, betas=config.betas)


class Stepper:
    """Takes optimiser steps.

    Args:
        config: The run's.
        method: With the network on the fabric's device.
        fabric: Launched.
    """

    def __init__(self, config: TrainConfig, *, method: Method, fabric: Fabric) -> None:
        self._config = config
        self._method = method
        self._fabric = fabric
        self._parameters = list(method.parameters())
        self.optimiser = build_optimiser(self._parameters, config=config.optimiser)
        wrapped = fabric.setup_optimizers(self.optimiser)
        if isinstance(wrapped, tuple):
            raise TypeError("setup_optimizers gave several optimisers for one")
        self._wrapped = wrapped
        self._skips = 0

    def take(self, step: int, parts: list[Part]) -> StepResult:
        """Do step number `step` with this process's `parts` of it.

        Raises:
            TrainingError: The loss or a gradient is not finite; names the step, the cases and the term.
        """
        config = self._config
        where = position(step, stages=config.stages)
        lr = learning_rate(step, config=config.optimiser, total=config.stages.total)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self._method.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        totals = []
        logged: dict[str, list[float]] = {}
        for part in parts:
            terms = self._loss(part, where=where)
            self._fabric.backward(terms.total / len(parts))
            totals.append(float(terms.total.detach()))
            for name, value in terms.logged.items():
                logged.setdefault(name, []).append(value)
        average_gradients(self._parameters, fabric=self._fabric)
        norm = self._clip(where=where, parts=parts)
        self._wrapped.step()
        self._method.after_step()
        means = {name: sum(values) / len(values) for name, values in logged.items()}
        return StepResult(where, lr, sum(totals) / len(totals), norm, means)

    def scaler_state(self) -> dict[str, object] | None:
        """State of fp16's gradient scaler; None in other precisions."""
        return self._fabric.strategy.precision.state_dict() or None

    def restore_scaler(self, state: dict[str, object] | None) -> None:
        """Restore what `scaler_state` gave."""
        if state:
            self._fabric.strategy.precision.load_state_dict(state)

    def _loss(self, part: Part, *, where: Position) -> LossTerms:
        device = self._fabric.device
        unlabelled = None if part.unlabelled is None else part.unlabelled.to(device)
        step = Step(
            labelled=part.labelled.to(device),
            unlabelled=unlabelled,
            stage=where.stage,
            stage_fraction=where.stage_fraction,
            global_fraction=where.global_fraction,
            number=where.step,
            seed=self._config.seed,
            first_sample=part.first_sample,
        )
        with self._fabric.autocast():
            terms = self._method.loss(step)
        if not bool(torch.isfinite(terms.total)):
            term = next((name for name, value in terms.logged.items() if not math.isfinite(value)), "total")
            raise self._not_finite(f"the loss term {term!r} is", where=where, parts=[part])
        return terms

    def _clip(self, *, where: Position, parts: list[Part]) -> float:
        """Unscale (fp16), check and clip the gradients; returns their norm before clipping."""
        precision = self._fabric.strategy.precision
        scaled = precision.state_dict() != {}
        if scaled:
            # Not the wrapped one: the scaler knows an optimiser by its identity, and would divide again at its step.
            precision.unscale_gradients(self.optimiser)
        norm = float(gradient_norm(self._parameters))
        if not math.isfinite(norm):
            # fp16's scaler passes over a step whose gradients overflowed and lowers its scale; only many of them end.
            self._skips += 1
            if not scaled or self._skips > _MOST_SKIPS:
                name = first_not_finite(self._method.network) or "a parameter of the method"
                raise self._not_finite(f"the gradient of {name!r} is", where=where, parts=parts)
            return norm
        self._skips = 0
        limit = self._config.optimiser.max_grad_norm
        if limit is not None and norm > limit:
            scale_gradients(self._parameters, factor=limit / norm)
        return norm

    def _not_finite(self, what: str, *, where: Position, parts: list[Part]) -> TrainingError:
        cases = [case for part in parts for case in part.labelled.cases]
        cases += [case for part in parts if part.unlabelled is not None for case in part.unlabelled.cases]
        return TrainingError(
            f"step {where.step + 1} (stage {where.stage}): {what} not finite, on the cases "
            f"{', '.join(dict.fromkeys(cases))}",
            mend="the last checkpoint stands; look at these cases with `cmc data check`, or lower optimiser.lr",
        )


def _share(size: int, *, part: int, parts: int) -> range:
    each = size // parts
    return range(part * each, (part + 1) * each)
