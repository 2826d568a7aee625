"""What the engine asks of a semi-supervised method, and the small types that go to and fro."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from cmc_sdk.training.data.batch import Batch
from cmc_sdk.training.model import CMCNetwork

__all__ = ["LossTerms", "Method", "StepClock"]


@dataclass(frozen=True)
class StepClock:
    """Where training stands.

    Args:
        stage_fraction: Share of the running stage that lies behind, [0, 1].
        global_fraction: Share of the whole run that lies behind, [0, 1].
        step: Optimiser step, counted over the whole run.
    """

    stage_fraction: float
    global_fraction: float
    step: int


@dataclass(frozen=True)
class LossTerms:
    """One step's loss.

    Args:
        total: Scalar to call backward on; the mean over the batch's samples of each sample's own loss.
        logged: Terms, weights and the quantities to watch, by name.
    """

    total: Tensor
    logged: dict[str, float]


class Method(Protocol):
    """One way to train a `CMCNetwork` on few labelled and many unlabelled samples."""

    name: str
    network: CMCNetwork

    def loss(
        self,
        labelled: Batch,
        unlabelled: Batch | None,
        *,
        clock: StepClock,
        stage: int,
        generator_seed: int,
        first_sample: int = 0,
    ) -> LossTerms:
        """The loss of one step.

        Args:
            labelled: Samples with labels.
            unlabelled: Samples without; read in stage 3 only, None is allowed.
            clock: For the schedules and the random draws.
            stage: 1 every modality alone; 2 with MIA and fusion; 3 with the unlabelled terms.
            generator_seed: Every random draw is a pure function of (generator_seed, clock.step, sample, purpose).
            first_sample: Number of the batch's first sample among those of the whole step, over all processes and
                accumulated parts, so that a split batch draws what the whole one would.
        """
        ...

    def after_step(self) -> None:
        """Called after every optimiser step."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """All that the optimiser trains, in a fixed order."""
        ...

    def extra_state(self) -> dict[str, Tensor]:
        """What must be saved beside the network to continue exactly."""
        ...

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore `extra_state`; CheckpointError if it does not fit."""
        ...
