"""Which stage a step belongs to, how far the run has come, and the learning rate there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cmc_sdk.training.engine.config import OptimiserConfig, StagesConfig

__all__ = ["Position", "learning_rate", "position"]


@dataclass(frozen=True)
class Position:
    """Where a step stands.

    Args:
        step: 0 … total - 1, over all stages.
        stage: 1, 2 or 3.
        stage_fraction: How much of the stage lies behind, [0, 1): the clock `stage` of the loss schedules.
        global_fraction: How much of the whole run lies behind, [0, 1): the clock `global`.
    """

    step: int
    stage: int
    stage_fraction: float
    global_fraction: float


def position(step: int, *, stages: StagesConfig) -> Position:
    """The place of `step` (0 … total - 1) in the stages; a stage of 0 steps is passed over.

    Raises:
        ValueError: `step` is not one of the run's.
    """
    if not 0 <= step < stages.total:
        raise ValueError(f"step {step} is none of the run's {stages.total}")
    first = 0
    for stage, length in enumerate((stages.alone, stages.fused, stages.semi), start=1):
        if step < first + length:
            return Position(step, stage, (step - first) / length, step / stages.total)
        first += length
    raise ValueError(f"step {step} is none of the run's {stages.total}")


def learning_rate(step: int, *, config: OptimiserConfig, total: int) -> float:
    """Learning rate of `step`: linear to `lr` over the warm-up, then half a cosine down to `final_lr` at `total`."""
    warmup = min(config.warmup_steps, total)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    fraction = (step - warmup) / (total - warmup)
    return config.final_lr + 0.5 * (config.lr - config.final_lr) * (1.0 + math.cos(math.pi * fraction))
