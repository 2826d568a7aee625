"""The configuration of a training run: every number that decides what comes out, checked before anything runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from cmc_sdk.strict_model import StrictModel
from cmc_sdk.training.data.config import DataConfig
from cmc_sdk.training.losses.config import LossConfig
from cmc_sdk.training.methods.catalogue import METHODS, one_of
from cmc_sdk.training.model.config import ModelConfig

__all__ = ["OptimiserConfig", "StagesConfig", "TrainConfig", "ValidationConfig"]

Steps = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0.0)]


def _known_method(value: object) -> object:
    """The value, if the catalogue has a method of that name; else the complaint that pydantic has for a Literal."""
    if isinstance(value, str) and value in METHODS:
        return value
    expected = one_of([repr(name) for name in METHODS])
    raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})


MethodName = Annotated[str, BeforeValidator(_known_method)]


class OptimiserConfig(StrictModel):
    """AdamW with a linear warm-up and a cosine to `final_lr`, over the steps of all stages together.

    Args:
        lr: Learning rate at the end of the warm-up.
        final_lr: What the cosine ends at.
        warmup_steps: Steps from 0 to `lr`; at most all steps.
        weight_decay: On weights of two or more axes; biases, norms and scalars are never decayed.
        betas: AdamW's averages.
        max_grad_norm: Gradients with a larger norm (over all trainable parameters) are scaled down to it; None: never.
    """

    lr: Annotated[float, Field(gt=0.0)] = 1e-3
    final_lr: NonNegative = 0.0
    warmup_steps: Steps = 50
    weight_decay: NonNegative = 1e-5
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    max_grad_norm: Annotated[float, Field(gt=0.0)] | None = 1.0

    @model_validator(mode="after")
    def _check(self) -> OptimiserConfig:
        if self.final_lr > self.lr:
            raise ValueError(f"final_lr {self.final_lr:g} is above lr {self.lr:g}; lower it")
        return self


class StagesConfig(StrictModel):
    """Optimiser steps of the three stages (paper section 2.4): one after another, on the same weights.

    Args:
        alone: Stage 1: every modality's encoder and decoder by itself, on labelled windows.
        fused: Stage 2: with MIA and fusion, on labelled windows.
        semi: Stage 3: with the consistency terms, on labelled and unlabelled windows.
    """

    alone: Steps = 0
    fused: Steps = 0
    semi: Steps = 0

    @property
    def total(self) -> int:
        """Steps of all stages."""
        return self.alone + self.fused + self.semi

    @model_validator(mode="after")
    def _check(self) -> StagesConfig:
        if self.fused + self.semi == 0:
            raise ValueError(
                "fused and semi are both 0, so MIA and fusion would stay untrained; give either some steps"
            )
        return self


class ValidationConfig(StrictModel):
    """When the network is measured by sliding window on whole validation cases.

    Args:
        every: Steps between validations, counted from the start of the run; stage 1 is not validated, since MIA and
            fusion are not trained yet. The last step always is.
        max_cases: At most so many cases in the validations on the way, the first of the list; None: all. The final
            one takes all.
        batch: Windows that go through the network at once.
    """

    every: Annotated[int, Field(ge=1)] = 500
    max_cases: Annotated[int, Field(ge=1)] | None = None
    batch: Annotated[int, Field(ge=1)] = 1


class TrainConfig(StrictModel):
    """A training run. Relative paths count from the current folder.

    Args:
        name: What to call the run; the default run folder is `runs/<name>`.
        output: The run folder; None for the default.
        seed: Every random draw is a pure function of (seed, step, sample, purpose).
        method: Which semi-supervised method stage 3 applies.
        model: The network.
        data: The data list, windows and augmentation. Its batch sizes are those of one optimiser step, over all
            processes and accumulated parts together: their number changes no result.
        loss: Weights, descriptors, pairing and schedules of the loss terms.
        optimiser: AdamW and its schedule.
        stages: Steps of each stage.
        modality_dropout: Probability that a sample loses one modality; None: 0.25, or 0.5 where the data list is
            unpaired, since such networks are deployed one modality at a time (method: section 3).
        validation: When and how to measure.
        device: `auto` takes a GPU where there is one.
        precision: `32-true`, or autocast in bf16 or fp16 (the latter with a gradient scaler).
        accumulate: Parts that the batch of one step is cut into, to save memory.
        checkpoint_every: Steps between checkpoints; one more follows every validation.
        log_every: Steps between lines of the log.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = "run"
    output: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    method: MethodName = "cmc"
    model: ModelConfig = ModelConfig()
    data: DataConfig
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    stages: StagesConfig
    modality_dropout: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    validation: ValidationConfig = ValidationConfig()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accumulate: Annotated[int, Field(ge=1)] = 1
    checkpoint_every: Annotated[int, Field(ge=1)] = 200
    log_every: Annotated[int, Field(ge=1)] = 10

    @property
    def run_folder(self) -> str:
        """Where the run is written."""
        return self.output if self.output is not None else f"runs/{self.name}"
