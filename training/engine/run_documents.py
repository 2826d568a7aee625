"""The shapes of what a run keeps as JSON: lines of its log, the state in a checkpoint, the summary."""

from __future__ import annotations

from typing import Literal, TypedDict

__all__ = ["Best", "Dice", "LogLine", "SubsetRow", "Summary", "TrainingState"]

Dice = dict[str, dict[str, float | None]]
"""By modality, then by organ; None where there was nothing to measure."""


class Best(TypedDict):
    """The best validation so far.

    Args:
        step: Steps that were done.
        score: What validations are compared by: the mean Dice, -1 where nothing was measured.
        mean_dice: None where nothing was measured.
    """

    step: int
    score: float
    mean_dice: float | None


class TrainingState(TypedDict):
    """What a checkpoint holds beside its tensors.

    Args:
        step: Steps that are done.
        best: None before the first validation.
        seconds: Training time so far.
        scaler: Of fp16's gradient scaler; None in other precisions.
        datalist_sha256: Of the data list that the run was started with.
    """

    step: int
    best: Best | None
    seconds: float
    scaler: dict[str, object] | None
    datalist_sha256: str


class _AnyLine(TypedDict):
    kind: Literal["step", "validation", "final"]
    step: int


class LogLine(_AnyLine, total=False):
    """A line of `log.jsonl`; which keys it has depends on its kind, and None stands for NaN.

    A `step` has the first row of keys, groups of numbers that a method does not log left out; a `validation` the
    second; `final` the last.
    """

    stage: int
    lr: float
    loss: float
    gradient_norm: float
    seconds: float
    terms: dict[str, float | None]
    weights: dict[str, float | None]
    mia: dict[str, float | None]
    watch: dict[str, float | None]

    mean_dice: float | None
    mean_by_modality: dict[str, float | None]
    dice: Dice
    foreground_ratio: dict[str, float | None]

    fused_minus_alone: dict[str, float | None]


class SubsetRow(TypedDict):
    """A `SubsetScore` of the manifest as JSON."""

    present: list[str]
    dice: Dice
    mean_dice: float | None
    cases: int


class Summary(TypedDict, total=False):
    """`summary.json`; empty while training goes on.

    Args:
        validated_subsets: Scores by subset of modalities.
        seen: A `SeenRange` of the manifest as JSON by modality.
        fused_minus_alone: Dice by modality.
        best: Empty where there was no validation.
        provenance: Configuration, seed, versions and hashes.
        seconds: Training time.
    """

    validated_subsets: list[SubsetRow]
    seen: dict[str, dict[str, object]]
    fused_minus_alone: dict[str, float | None]
    best: dict[str, object]
    provenance: dict[str, object]
    seconds: float
