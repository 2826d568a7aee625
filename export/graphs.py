"""The network as ONNX graphs: one encoder and one decoder a modality, so that a CT-only run pays for CT only."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor as TorchTensor
from torch import nn

from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.bundle.precision import Tensor
from cmc_sdk.errors import BundleError
from cmc_sdk.export.onnx_file import inspect_graph, normalisations, tidy_graph
from cmc_sdk.export.translations import TRANSLATIONS
from cmc_sdk.runtime.onnx.opset import OPSET, opset_fault
from cmc_sdk.training.model import CMCNetwork, Encoded

__all__ = ["DecoderWrapper", "EncoderWrapper", "ExportedGraph", "export_graphs", "export_module"]


@dataclass(frozen=True)
class ExportedGraph:
    """One written graph: what the manifest says of it, and the very bytes that are hashed, checked and run.

    Args:
        entry: Of the manifest.
        content: Of its file.
        weights: Of the file of weights that an int8 graph has beside it.
    """

    entry: Graph
    content: bytes
    weights: bytes | None = None

    @property
    def files(self) -> dict[str, bytes]:
        """Its files by path in the bundle."""
        if self.entry.weights is None or self.weights is None:
            return {self.entry.path: self.content}
        return {self.entry.path: self.content, self.entry.weights: self.weights}


class EncoderWrapper(nn.Module):
    """`encode` of one modality with plain tensors in and out: window (N, 1, X, Y, Z) → features, skip_0, ….

    Args:
        network: The network, in eval mode.
        modality: Whose encoder.
    """

    def __init__(self, network: CMCNetwork, *, modality: str) -> None:
        super().__init__()
        self.network = network
        self.modality = modality

    def forward(self, window: TorchTensor) -> tuple[TorchTensor, ...]:
        """(N, 1, X, Y, Z) → features (N, C, g, g, g) and the skips, finest last or as the network orders them."""
        encoded = self.network.encode(self.modality, window)
        return (encoded.features, *encoded.skips)


class DecoderWrapper(nn.Module):
    """`decode` of one modality: features of every modality in order, presence, skips, window → logits.

    Args:
        network: The network, in eval mode.
        modality: Whose decoder.
    """

    def __init__(self, network: CMCNetwork, *, modality: str) -> None:
        super().__init__()
        self.network = network
        self.modality = modality

    def forward(self, *inputs: TorchTensor) -> TorchTensor:
        """Features (N, C, g, g, g) × M, presence (N, M) float32 in {0, 1}, skips, window → (N, K, X, Y, Z)."""
        names = self.network.modalities
        features = dict(zip(names, inputs[: len(names)], strict=True))
        presence, *skips, window = inputs[len(names) :]
        encoded = Encoded(features=features[self.modality], skips=tuple(skips))
        logits: TorchTensor = self.network.decode(
            self.modality, features=features, presence=presence > 0.5, encoded=encoded, image=window
        )
        return logits


def export_graphs(network: CMCNetwork, *, opset: int = OPSET) -> list[ExportedGraph]:
    """Write every graph of `network` in f32, dynamic in the batch, with weights embedded, and check what was written.

    Args:
        network: The trained network; left in the mode that it was given in.
        opset: One of `OPSETS`.

    Raises:
        BundleError: A written graph breaks a rule of the bundle (see `inspect_graph`).
    """
    training = network.training
    network.eval()
    try:
        graphs = [graph for name in network.modalities for graph in _export_modality(network, name, opset=opset)]
    finally:
        network.train(training)
    return graphs


def _export_modality(network: CMCNetwork, modality: str, *, opset: int) -> list[ExportedGraph]:
    reference = next(network.parameters())
    window = torch.zeros(1, 1, *network.window_vox, dtype=torch.float32, device=reference.device)
    with torch.no_grad():
        encoded = network.encode(modality, window)
    skips = {f"skip_{index}": skip for index, skip in enumerate(encoded.skips)}
    # The features of every modality have one shape: they meet in the fusion.
    features = {f"features_{name}": encoded.features for name in network.modalities}
    presence = torch.ones(1, len(network.modalities), device=reference.device)
    encoder = _export_part(
        EncoderWrapper(network, modality=modality),
        inputs={"window": window},
        outputs=("features", *skips),
        part="encoder",
        modality=modality,
        opset=opset,
    )
    decoder = _export_part(
        DecoderWrapper(network, modality=modality),
        inputs={**features, "presence": presence, **skips, "window": window},
        outputs=("logits",),
        part="decoder",
        modality=modality,
        opset=opset,
    )
    return [encoder, decoder]


def _export_part(
    module: nn.Module,
    *,
    inputs: dict[str, TorchTensor],
    outputs: Sequence[str],
    part: Literal["encoder", "decoder"],
    modality: str,
    opset: int,
) -> ExportedGraph:
    path = f"graphs/f32/{part}_{modality}.onnx"
    content = export_module(module, inputs=inputs, outputs=outputs, opset=opset, name=path)
    written_inputs, written_outputs = inspect_graph(content, name=path)
    entry = Graph(
        path=path,
        part=part,
        modality=modality,
        precision="f32",
        opset=opset,
        inputs=tuple(Tensor(name=name, dtype="float32", shape=shape) for name, shape in written_inputs.items()),
        outputs=tuple(Tensor(name=name, dtype="float32", shape=shape) for name, shape in written_outputs.items()),
    )
    return ExportedGraph(entry=entry, content=content)


def export_module(
    module: nn.Module,
    *,
    inputs: dict[str, TorchTensor],
    outputs: Sequence[str],
    name: str,
    opset: int = OPSET,
    dynamic_batch: bool = True,
) -> bytes:
    """Trace `module` and return one self-contained ONNX file; an input that has no influence is left out.

    Args:
        module: In eval mode; takes the inputs by position.
        inputs: Examples by name; the batch is their first axis.
        outputs: Names of what it returns.
        name: For messages.
        opset: One of `OPSETS`.
        dynamic_batch: False keeps the batch of the examples.

    Raises:
        BundleError: The network cannot be traced, or a normalisation was not written as one op.
    """
    if (fault := opset_fault(opset)) is not None:
        raise BundleError(f"{name}: {fault}", mend=f"leave the opset at {OPSET}")
    # Two alike samples: with one, the tracer would take the batch for a constant.
    count = 2 if dynamic_batch else 1
    examples = tuple(value.repeat(count, *(1,) * (value.ndim - 1)) for value in inputs.values())
    batch = torch.export.Dim("N", min=1, max=4096)
    axes = tuple({0: batch} for _ in examples) if dynamic_batch else None
    # A module that takes *inputs has one argument for all of them.
    starred = isinstance(module, DecoderWrapper)
    shapes = ((axes,) if starred else axes) if axes is not None else None
    with torch.no_grad(), _quiet():
        program = torch.export.export(module, examples, dynamic_shapes=shapes, strict=False)
        expected = normalisations(program)
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            input_names=list(inputs),
            output_names=list(outputs),
            custom_translation_table=TRANSLATIONS,
            external_data=False,
            verbose=False,
        )
    if exported is None:
        raise BundleError(f"{name}: torch.onnx.export returned nothing", mend="report this with your torch version")
    return tidy_graph(exported.model_proto, name=name, expected=expected)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about torchvision and about torch's own deprecations off the user's terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
