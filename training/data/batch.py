"""A batch of windows, as every method and loss receives it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["Batch"]


@dataclass(frozen=True)
class Batch:
    """Windows of B samples, each with up to M modalities.

    Args:
        images: By modality, (B, 1, X, Y, Z) float32, normalised; zeros where the sample lacks the modality.
        labels: By modality, (B, X, Y, Z) int64 in 0 … K-1; an empty dict for unlabelled data, whose masks are never
            read; zeros where the sample lacks the modality.
        presence: (B, M) bool, columns in the network's order of modalities.
        body: By modality, (B, 3, 4) float32: window voxel index (i, j, k, 1) → body-normalised coordinates of that
            modality's patient, [0, 1]³ over the box of its foreground, axes in RAS order. After a left-right flip they
            are those of the mirrored patient. Zeros where the sample lacks the modality.
        cases: What each sample was cut from, for messages; "a+b" where modalities come from two cases.
    """

    images: dict[str, Tensor]
    labels: dict[str, Tensor]
    presence: Tensor
    body: dict[str, Tensor]
    cases: tuple[str, ...]

    @property
    def size(self) -> int:
        """B, the number of samples."""
        return len(self.cases)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`."""
        return replace(
            self,
            images={name: tensor.to(device) for name, tensor in self.images.items()},
            labels={name: tensor.to(device) for name, tensor in self.labels.items()},
            presence=self.presence.to(device),
            body={name: tensor.to(device) for name, tensor in self.body.items()},
        )
