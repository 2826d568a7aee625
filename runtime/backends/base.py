"""What an inference backend offers: the two parts of the network, in numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Backend", "CalibratedBackend", "PreparingBackend", "StreamingBackend"]

Array = npt.NDArray[np.float32]


class Backend(Protocol):
    """Runs encoders and decoders of a network, window by window."""

    @property
    def name(self) -> str:
        """What it is called in records and tables."""
        ...

    @property
    def precision(self) -> str:
        """The precision that it computes in, as it was asked for: `f32`."""
        ...

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names in the network's order."""
        ...

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """Encode windows of one modality.

        Args:
            modality: Its name.
            window: (B, 1, X, Y, Z) f32, normalised.

        Returns:
            `features` (B, C, g, g, g) and `skip_0`, `skip_1`, … as the decoder of the same modality takes them.
        """
        ...

    def decode(
        self,
        modality: str,
        *,
        features: Mapping[str, Array],
        presence: Array,
        encoded: Mapping[str, Array],
        window: Array,
    ) -> Array:
        """Decode one modality.

        Args:
            modality: Its name.
            features: (B, C, g, g, g) of every modality; of an absent one any finite values of that shape.
            presence: (B, M) f32, 1 where the modality is present.
            encoded: What `encode` gave for this modality.
            window: The window that it was given.

        Returns:
            Logits, (B, K, X, Y, Z) f32.
        """
        ...


@runtime_checkable
class PreparingBackend(Protocol):
    """A backend that loads and compiles late, and can do it ahead of the first window."""

    def prepare(self, modalities: Sequence[str], *, batch: int) -> None:
        """Make ready what windows of `modalities` in batches of this size need; nothing where it is ready.

        Raises:
            BackendError: A part of the network cannot be compiled.
            BundleError: A file is not what the manifest lists.
        """
        ...


@runtime_checkable
class StreamingBackend(Protocol):
    """A backend that may be called from several threads at once, each call on its share of the processor."""

    @property
    def best_streams(self) -> int:
        """Calls at once with which it is fastest here."""
        ...

    def set_streams(self, count: int) -> None:
        """Be ready for `count` calls at once; what was compiled for another count is given back.

        Args:
            count: 1 to `best_streams`.
        """
        ...


@runtime_checkable
class CalibratedBackend(Protocol):
    """A backend that is for the windows that it was calibrated on, and computes others in f32."""

    @property
    def exact_windows(self) -> int:
        """Windows, of any modality, that it computed in f32 so far."""
        ...
