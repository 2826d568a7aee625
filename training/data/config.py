"""StrictModel of the data: which list, which grid, which windows, which augmentation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from cmc_sdk.pairing import WindowPairing
from cmc_sdk.strict_model import StrictModel

__all__ = ["DataConfig", "IntensityAugmentation", "SpatialAugmentation"]

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveTriple = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class SpatialAugmentation(StrictModel):
    """What is drawn once per sample and applied to all of its modalities alike.

    Args:
        rotate_degrees: Largest rotation about each axis, in degrees.
        rotate_probability: How often a sample is rotated; a rotated window takes the slower general sampler.
        scale: Smallest and largest magnification of the anatomy.
        scale_probability: How often a sample is scaled.
        flip_probability: How often left and right are exchanged, classes marked as mirrors with them. 0 by default:
            for anatomy that is not symmetric (liver, spleen) a mirrored patient is one that does not exist.
    """

    rotate_degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 10.0
    rotate_probability: Probability = 0.2
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.9, 1.1)
    scale_probability: Probability = 0.5
    flip_probability: Probability = 0.0

    @model_validator(mode="after")
    def _check(self) -> SpatialAugmentation:
        if self.scale[0] > self.scale[1]:
            raise ValueError("scale must be (smallest, largest)")
        return self


class IntensityAugmentation(StrictModel):
    """What is drawn for each modality of a sample by itself, in units of the normalised image.

    Args:
        scale: v ← v·(1 + u), u uniform in ±scale.
        shift: v ← v + u, u uniform in ±shift.
        gamma: v ← v**g over the window's own range, g log-uniform between gamma[0] and gamma[1].
        noise: Standard deviation of white Gaussian noise, uniform in [0, noise].
        bias: Largest coefficient of a smooth multiplicative field (third-degree Legendre polynomials, exponentiated).
        probability: How often each of the five is applied, independently.
        bias_probability: The same for the bias field alone, off by default.
    """

    scale: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    shift: Annotated[float, Field(ge=0.0)] = 0.1
    gamma: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.8, 1.25)
    noise: Annotated[float, Field(ge=0.0)] = 0.1
    bias: Annotated[float, Field(ge=0.0)] = 0.2
    probability: Probability = 0.3
    bias_probability: Probability = 0.0

    @model_validator(mode="after")
    def _check(self) -> IntensityAugmentation:
        if self.gamma[0] > self.gamma[1]:
            raise ValueError("gamma must be (smallest, largest)")
        return self


class DataConfig(StrictModel):
    """The `data` section of a training configuration.

    Args:
        datalist: Path of the data list.
        spacing_mm: Spacing of the model grid.
        overlap: Share of a window that neighbours overlap when whole volumes are labelled.
        cache: Keep the volumes in memory; else each window reads its files again.
        labelled_batch: Labelled samples a step.
        unlabelled_batch: Unlabelled samples a step, in stage 3.
        foreground_share: Share of labelled windows that are centred on a labelled voxel, of a class drawn first.
        body_share: Of the other windows, the share placed on the body rather than anywhere on the grid.
        pairing: How the windows of the modalities of one sample correspond: `world`, the same physical box; `body`, the
            same body-normalised position. None: `body` for an unpaired data list, else `world`.
        spatial: Augmentation drawn once per sample.
        intensity: Augmentation drawn per modality.
    """

    datalist: str
    spacing_mm: PositiveTriple
    overlap: Annotated[float, Field(ge=0.0, le=0.9)] = 0.5
    cache: bool = True
    labelled_batch: Annotated[int, Field(ge=1)] = 2
    unlabelled_batch: Annotated[int, Field(ge=1)] = 2
    foreground_share: Probability = 0.5
    body_share: Probability = 0.8
    pairing: WindowPairing | None = None
    spatial: SpatialAugmentation = SpatialAugmentation()
    intensity: IntensityAugmentation = IntensityAugmentation()
