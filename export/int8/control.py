"""Accuracy control: which layers stay in FP32 so that the labels stay within the gate's limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.bundle.precision import GateLimits
from cmc_sdk.errors import ParityError
from cmc_sdk.export.int8.harm import Harm, WindowLabels
from cmc_sdk.export.int8.quantise import bypass, first_layers_of, layers_of, quantise, run_model
from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs

if TYPE_CHECKING:
    import openvino

__all__ = ["MARGIN", "Controlled", "GraphTrial", "MixedBackend", "control"]

MARGIN = 0.5
"""Share of the gate's limits that the calibration windows may use up: whole scans have other windows too.

A share of whatever limits are given, and no limit itself.
"""

_RANKED_ON = 2
"""Windows on which layers are ranked."""


@dataclass
class GraphTrial:
    """One graph on its way to int8.

    Args:
        graph: The f32 graph.
        model: OpenVINO's model of it.
        inputs: What it is given of the calibration windows.
        keep: Layers that go back to FP32, the most harmful first; those that read the scan are in FP32 from the start:
            they cost little, and 8 bits of a scan are few.
        layers: How many layers could be quantised; known once it was quantised.
    """

    graph: Graph
    model: openvino.Model
    inputs: Sequence[Mapping[str, Array]]
    keep: tuple[str, ...] = ()
    layers: int = 0
    quantised: openvino.Model | None = None
    ranked: tuple[str, ...] = field(default=(), repr=False)

    def build(self) -> None:
        """Quantise it, all but `keep`."""
        self.quantised = quantise(self.model, inputs=self.inputs, keep=(*first_layers_of(self.model), *self.keep))
        if not self.keep:
            self.layers = len(layers_of(self.quantised))

    def rank(self) -> None:
        """Order the layers by how much of the outputs' error goes away with each, the largest first."""
        inputs = self.inputs[:_RANKED_ON]
        exact = run_model(self.model, inputs=inputs)
        whole = _error(run_model(self.quantised, inputs=inputs), exact)
        gains = {
            layer: whole - _error(run_model(bypass(self.quantised, layer=layer), inputs=inputs), exact)
            for layer in layers_of(self.quantised)
        }
        self.ranked = tuple(sorted(gains, key=lambda layer: -gains[layer]))


@dataclass(frozen=True)
class Controlled:
    """What came out.

    Args:
        trials: Quantised graphs.
        harm: On the calibration windows.
        steps: For the report: layers in FP32 by graph, and the harm, of each attempt.
    """

    trials: tuple[GraphTrial, ...]
    harm: Harm
    steps: tuple[Mapping[str, object], ...]


class MixedBackend(Backend):
    """Runs some graphs in int8 and the others with `reference`.

    Args:
        reference: ONNX Runtime f32.
        models: Quantised models by (part, modality).
    """

    name = "openvino"
    precision = "int8"

    def __init__(self, reference: Backend, models: Mapping[tuple[str, str], tuple[Graph, openvino.Model]]) -> None:
        from cmc_sdk.runtime.backends.openvino import import_openvino

        settings = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
        core = import_openvino().Core()
        self.modalities = reference.modalities
        self._reference = reference
        self._graphs = {key: graph for key, (graph, _) in models.items()}
        self._requests = {
            key: core.compile_model(model, "CPU", settings).create_infer_request() for key, (_, model) in models.items()
        }

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        """As `Backend.encode`."""
        if ("encoder", modality) not in self._requests:
            return self._reference.encode(modality, window)
        return self._run("encoder", modality, {"window": window})

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        """As `Backend.decode`."""
        if ("decoder", modality) not in self._requests:
            return self._reference.decode(modality, inputs)
        return self._run("decoder", modality, inputs.named())["logits"]

    def _run(self, part: str, modality: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        wanted = {port.name: np.ascontiguousarray(inputs[port.name]) for port in self._graphs[part, modality].inputs}
        found = self._requests[part, modality].infer(wanted, share_inputs=True)
        return {port.get_any_name(): np.array(array) for port, array in found.items()}


def control(
    trials: Sequence[GraphTrial],
    *,
    labels: WindowLabels,
    limits: GateLimits,
    reference: Backend,
    progress: Callable[[int, int], None] | None = None,
) -> Controlled:
    """Quantise every graph, and take layers back to FP32 until the labels of the calibration windows are near enough.

    While the labels use up more than `MARGIN` of the limits, the graph that alone does the most harm keeps twice as
    many layers in FP32 as before, the most harmful first.

    Args:
        trials: One per graph; changed in place.
        labels: The reference's.
        limits: Of the int8 gate.
        reference: ONNX Runtime f32.
        progress: Called with (graphs quantised, of).

    Raises:
        ParityError: With half of a graph's layers in FP32 it is still not enough: int8 would gain nothing.
    """
    for done, trial in enumerate(trials):
        trial.build()
        if progress is not None:
            progress(done + 1, len(trials))
    steps: list[Mapping[str, object]] = []
    while True:
        harm = labels.harm(_backend(trials, reference))
        steps.append({**_kept(trials), "flips": harm.flips, "dice": dict(harm.dice)})
        if harm.share(limits) <= MARGIN:
            return Controlled(tuple(trials), harm, tuple(steps))
        alone = [labels.harm(_backend([trial], reference)).share(limits) for trial in trials]
        worst = trials[int(np.argmax(alone))]
        if not worst.ranked:
            worst.rank()
        more = max(1, 2 * len(worst.keep))
        if more > worst.layers // 2:
            raise ParityError(
                f"int8 changes the labels too much: with {len(worst.keep)} of {worst.layers} layers of "
                f"{worst.graph.path} in FP32, {harm.words()} on real windows, where {MARGIN:.0%} of the limits may be "
                f"used (Dice ≥ {limits.min_dice:g}, flips ≤ {limits.max_flips:.2%})",
                mend="leave --int8 out, or give bf16",
            )
        worst.keep = worst.ranked[:more]
        worst.build()


def _backend(trials: Sequence[GraphTrial], reference: Backend) -> MixedBackend:
    return MixedBackend(
        reference, {(trial.graph.part, trial.graph.modality): (trial.graph, trial.quantised) for trial in trials}
    )


def _kept(trials: Sequence[GraphTrial]) -> dict[str, object]:
    return {"layers_in_f32": {trial.graph.path: len(trial.keep) for trial in trials}}


def _error(found: Sequence[Mapping[str, Array]], exact: Sequence[Mapping[str, Array]]) -> float:
    """Squared error relative to the outputs' power, all outputs alike."""
    shares = [
        float(np.mean((a[name] - b[name]) ** 2) / max(float(np.var(b[name])), 1e-12))
        for a, b in zip(found, exact, strict=True)
        for name in b
    ]
    return float(np.mean(shares))
