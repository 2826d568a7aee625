"""What an inference backend offers: the two parts of the network, in numpy arrays, and how it likes to be called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BATCHES", "Array", "Backend", "DecoderInputs"]

Array = npt.NDArray[np.float32]

BATCHES = (1, 2, 4)
"""Windows in one call of the network: what a plan may choose from, and what engines are built for ahead of time."""


@dataclass(frozen=True)
class DecoderInputs:
    """What the decoder of one modality is given of a batch of B windows; M modalities, C channels, f32 throughout.

    Args:
        features: (B, C, g, g, g) of every modality; of an absent one any finite values of that shape.
        presence: (B, M), 1 where the modality is present, in the network's order.
        encoded: What `Backend.encode` gave for the decoded modality: `features`, and its skips `skip_0`, `skip_1`, …
        window: (B, 1, X, Y, Z), the window of the decoded modality, normalised, as `encode` was given it.
    """

    features: Mapping[str, Array]
    presence: Array
    encoded: Mapping[str, Array]
    window: Array

    def rows(self, mask: npt.NDArray[np.bool_]) -> DecoderInputs:
        """The same of some windows only.

        Args:
            mask: (B,), true for those that are kept.
        """
        return DecoderInputs(
            features={name: array[mask] for name, array in self.features.items()},
            presence=self.presence[mask],
            encoded={name: array[mask] for name, array in self.encoded.items()},
            window=self.window[mask],
        )

    def named(self) -> dict[str, Array]:
        """By the names that the inputs of a decoder's graph have: `features_<modality>`, `skip_<i>`, and so on."""
        named = {f"features_{name}": array for name, array in self.features.items()}
        named |= {name: array for name, array in self.encoded.items() if name != "features"}
        return {**named, "presence": self.presence, "window": self.window}


class Backend(ABC):
    """Runs encoders and decoders of a network, window by window.

    A backend must say who it is, encode and decode. All else has an answer here that is right for a backend that is
    called by one thread, is ready when it was made, and computes every window alike.

    Attributes:
        name: What it is called in records and tables.
        precision: The precision that it computes in, as it was asked for: `f32`.
        modalities: Names in the network's order.
        reason: Why it was chosen, for the record; None: nobody chose.
    """

    name: str
    precision: str
    modalities: tuple[str, ...]
    reason: str | None = None

    @abstractmethod
    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """Encode windows of one modality.

        Args:
            modality: Its name.
            window: (B, 1, X, Y, Z) f32, normalised.

        Returns:
            `features` (B, C, g, g, g) and `skip_0`, `skip_1`, … as the decoder of the same modality takes them, f32.
        """

    @abstractmethod
    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        """Decode one modality.

        Args:
            modality: Its name.
            inputs: Of B windows.

        Returns:
            Logits, (B, K, X, Y, Z) f32.
        """

    def prepare(self, modalities: Sequence[str], *, batch: int) -> None:  # noqa: B027 - to do nothing is an answer
        """Load and compile now what windows of `modalities` in batches of this size need; nothing where it is ready.

        Raises:
            BackendError: A part of the network cannot be compiled.
            BundleError: A file is not what the manifest lists.
        """

    @property
    def best_streams(self) -> int:
        """Calls at once, each from a thread of its own, with which it is fastest here; 1: it is for one thread."""
        return 1

    def set_streams(self, count: int) -> None:  # noqa: B027 - as above
        """Be ready for `count` calls at once; what was compiled for another count is given back.

        Args:
            count: 1 to `best_streams`.
        """

    @property
    def exact_windows(self) -> int:
        """Windows, of any modality, that it computed in f32 so far because it is not calibrated for them."""
        return 0

    @property
    def read_seconds(self) -> float:
        """What reading and hashing graphs took so far."""
        return 0.0

    def graph_content(self, part: str, modality: str) -> bytes | None:
        """The ONNX file from which one part of one modality is computed; None where there is none.

        Args:
            part: `encoder` or `decoder`.
            modality: Its name.

        Raises:
            BundleError: The bundle has no such graph.
        """
        return None
