"""What a semi-supervised method is: its traits, the step that it is given, and what the engine asks of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from cmc_sdk.errors import CheckpointError
from cmc_sdk.training.data.batch import Batch
from cmc_sdk.training.losses import ResolvedLoss
from cmc_sdk.training.losses.schedules import ClockName
from cmc_sdk.training.model import CMCNetwork

__all__ = ["LossTerms", "Method", "MethodSettings", "Step", "Traits"]


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What must be known of a method before it is built; whoever asks about a method asks for one of these.

    Args:
        learns_from_unlabelled: Stage 3 reads unlabelled samples, so the data list must have some.
        needs_pairs: It compares modalities, so the data list must have two or more.
        has_consistency_terms: Its loss holds CSC and CAC, so what is known to go wrong with their settings concerns it.
        may_branch: Its stages 1 and 2 are those of `supervised` and it keeps no second network, so a run of it may
            begin where another such run stood before stage 3.
        needs_equal_batches: A step of stage 3 that is divided (over processes or accumulated parts) must have as many
            unlabelled as labelled samples.
        trains_partner: It trains a second network beside the first.
    """

    learns_from_unlabelled: bool = False
    needs_pairs: bool = False
    has_consistency_terms: bool = False
    may_branch: bool = False
    needs_equal_batches: bool = False
    trains_partner: bool = False


@dataclass(frozen=True, kw_only=True)
class Step:
    """One optimiser step, or the part of one that goes through the network at once.

    Args:
        labelled: Samples with labels.
        unlabelled: Samples without; read in stage 3 only, None is allowed.
        stage: 1 every modality alone; 2 with MIA and fusion; 3 with the unlabelled terms.
        stage_fraction: Share of the running stage that lies behind, [0, 1].
        global_fraction: Share of the whole run that lies behind, [0, 1].
        number: Optimiser step, counted over the whole run from 0.
        seed: Every random draw is a pure function of (seed, number, sample, purpose).
        first_sample: Number of the batch's first sample among those of the whole step, over all processes and
            accumulated parts, so that a split batch draws what the whole one would.
    """

    labelled: Batch
    unlabelled: Batch | None
    stage: int
    stage_fraction: float
    global_fraction: float
    number: int
    seed: int
    first_sample: int = 0

    def time(self, clock: ClockName) -> float:
        """The schedules' time t ∈ [0, 1] by `clock`."""
        return self.stage_fraction if clock == "stage" else self.global_fraction


@dataclass(frozen=True)
class LossTerms:
    """One step's loss.

    Args:
        total: Scalar to call backward on; the mean over the batch's samples of each sample's own loss.
        logged: Terms, weights and the quantities to watch, by name.
    """

    total: Tensor
    logged: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """What a method is built from beside its network; each takes what it needs.

    Args:
        loss: Complete settings of the losses.
        modality_dropout: Probability in [0, 1] that a labelled sample loses one modality.
        seed: Of the run.
        partner: The second network of a method that trains one, if it is not to be built from the first one's
            configuration.
    """

    loss: ResolvedLoss
    modality_dropout: float
    seed: int
    partner: CMCNetwork | None = None


class Method(ABC):
    """One way to train a `CMCNetwork` on few labelled and many unlabelled samples.

    A new one is a file with a subclass, and its row in the catalogue.

    Args:
        network: Trained in place.
    """

    name: ClassVar[str]
    """What configurations call it."""
    traits: ClassVar[Traits]

    def __init_subclass__(cls) -> None:
        """A method that adds to another one would answer to its name and be built as it: each says its own."""
        inherited = [word for word in ("name", "traits", "build") if word not in vars(cls)]
        if inherited:
            raise TypeError(f"{cls.__name__}: a method says its own {', '.join(inherited)}")

    def __init__(self, network: CMCNetwork) -> None:
        self.network = network

    @classmethod
    @abstractmethod
    def build(cls, network: CMCNetwork, *, settings: MethodSettings) -> Method:
        """The method round `network`, with what it needs of `settings`."""

    @abstractmethod
    def loss(self, step: Step) -> LossTerms:
        """The loss of one step."""

    def after_step(self) -> None:  # noqa: B027 (most methods have nothing to do)
        """Called after every optimiser step."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """All that the optimiser trains, in a fixed order; the network's trainable parameters where not said."""
        return iter(self.network.trainable_parameters())

    def extra_state(self) -> dict[str, Tensor]:
        """What must be saved beside the network to continue exactly; nothing where not said."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore `extra_state`.

        Raises:
            CheckpointError: It does not fit.
        """
        if state:
            raise CheckpointError(
                f"the checkpoint holds {len(state)} extra tensors, method {self.name} has none",
                mend="resume with the method that wrote it",
            )
