"""What a run gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.results.record import RunRecord

__all__ = ["Quality", "Result"]


@dataclass(frozen=True)
class Quality:
    """Whether a result may be used as it is.

    Args:
        status: `ok`: nothing speaks against it; `review`: a person should look; `reject`: it should not be used.
        reasons: One sentence each; empty for `ok`.
    """

    status: Literal["ok", "review", "reject"]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """Labels of every scan that was given, each on its own grid.

    Args:
        labels: By modality, uint8, 0 background.
        confidence: By modality, uint8 in steps of 1/255: softmax of the label.
        volumes_ml: By modality and class name, in millilitres.
        quality: Whether it may be used.
        record: What was run on what, for the file.
    """

    labels: dict[str, Volume]
    confidence: dict[str, Volume]
    volumes_ml: dict[str, dict[str, float]]
    quality: Quality
    record: RunRecord
