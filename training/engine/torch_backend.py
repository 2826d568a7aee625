"""The network as a backend of the runtime, so that validation slides with the code that deployment slides with."""

from __future__ import annotations

import contextlib

import numpy as np
import torch

from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs
from cmc_sdk.training.model import CMCNetwork, Encoded

__all__ = ["TorchBackend"]


class TorchBackend(Backend):
    """A torch network as a backend, where the network stands.

    Args:
        network: Put into eval mode for each call and left in the mode that it was in.
        precision: `f32`, or the dtype of autocast, `bf16` or `fp16`.
    """

    name = "torch"

    def __init__(self, network: CMCNetwork, *, precision: str = "f32") -> None:
        self.network = network
        self.precision = precision
        self.modalities: tuple[str, ...] = tuple(network.modalities)

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As `Backend.encode`."""
        with self._evaluating():
            encoded = self.network.encode(modality, self._tensor(window))
        named = {"features": encoded.features} | {f"skip_{index}": item for index, item in enumerate(encoded.skips)}
        return {name: _array(item) for name, item in named.items()}

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        """As `Backend.decode`."""
        encoded = inputs.encoded
        with self._evaluating():
            skips = tuple(self._tensor(encoded[f"skip_{index}"]) for index in range(len(encoded) - 1))
            logits = self.network.decode(
                modality,
                features={name: self._tensor(item) for name, item in inputs.features.items()},
                presence=self._tensor(inputs.presence) > 0.5,
                encoded=Encoded(self._tensor(encoded["features"]), skips),
                image=self._tensor(inputs.window),
            )
        return _array(logits)

    def _evaluating(self) -> _Evaluating:
        return _Evaluating(self.network, precision=self.precision)

    def _tensor(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(next(self.network.parameters()).device)


class _Evaluating(contextlib.ExitStack):
    """Eval mode, no gradients, and autocast where the precision asks for it."""

    def __init__(self, network: CMCNetwork, *, precision: str) -> None:
        super().__init__()
        self._network = network
        self._was_training = network.training
        self._precision = precision

    def __enter__(self) -> _Evaluating:
        super().__enter__()
        if self._was_training:
            self._network.eval()
            self.callback(self._network.train)
        self.enter_context(torch.inference_mode())
        if self._precision != "f32":
            device = next(self._network.parameters()).device.type
            dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[self._precision]
            self.enter_context(torch.autocast(device, dtype=dtype))
        return self


def _array(tensor: torch.Tensor) -> Array:
    array: Array = tensor.float().cpu().numpy()
    return array
