"""Quantising one graph: convolutions and matrix products with 8-bit inputs and weights, all else in FP32."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from cmc_sdk.errors import BackendError
from cmc_sdk.runtime.backends.base import Array
from cmc_sdk.runtime.backends.openvino import import_openvino

if TYPE_CHECKING:
    import openvino

__all__ = ["QUANTISED", "bypass", "first_layers_of", "layers_of", "quantise", "run_model"]

QUANTISED = ("Convolution", "MatMul")
"""Types that are quantised. Statistics of the normalisations in 8 bits cost five times the error and gain no time;
transposed convolutions of three dimensions are computed in FP32 whatever their inputs were rounded to."""

_NO_VALUE = 1e30
"""8-bit products, summed and scaled, stay far below."""

_MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "VariadicSplit", "Split"})


def quantise(
    model: openvino.Model, *, inputs: Sequence[Mapping[str, Array]], keep: Sequence[str] = ()
) -> openvino.Model:
    """A quantised copy of `model`.

    Args:
        model: OpenVINO's model in FP32.
        inputs: What it is given of real windows: the ranges come from them.
        keep: Names of layers that stay in FP32.

    Raises:
        BackendError: nncf is not installed.
    """
    nncf = _import_nncf()
    others = {node.get_type_name() for node in model.get_ops()} - {*QUANTISED, "Constant", "Parameter", "Result"}
    # By default a range ends at the mean of the windows' largest values: whatever lies above it in one would be cut.
    ranges = nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    with _quiet(nncf):
        quantised = nncf.quantize(
            model.clone(),
            nncf.Dataset([dict(item) for item in inputs]),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            advanced_parameters=nncf.AdvancedQuantizationParameters(activations_range_estimator_params=ranges),
            ignored_scope=nncf.IgnoredScope(names=list(keep), types=sorted(others), validate=False),
        )
    _fence(quantised)
    return quantised


def _fence(model: openvino.Model) -> None:
    """Put a bound that no value reaches behind every layer that is computed in 8 bits.

    OpenVINO (2026.4) computes such a layer without its scale and multiplies by that later, where the next ops permit;
    where two ops take the layer's output, as a normalisation does for its mean, one of them gets the scale twice. The
    scale does not pass a bound, and a bound costs nothing: it is computed within the layer.
    """
    import openvino.opset13 as ops

    for node in model.get_ordered_ops():
        if node.get_type_name() in QUANTISED and _roundings(node):
            takers = node.output(0).get_target_inputs()
            bound = ops.clamp(node, -_NO_VALUE, _NO_VALUE)
            bound.set_friendly_name(f"{node.get_friendly_name()}/bound")
            for taker in takers:
                taker.replace_source_output(bound.output(0))


def layers_of(model: openvino.Model) -> list[str]:
    """Names of the layers whose input a quantised model rounds, in the order of computation."""
    return [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in QUANTISED and _roundings(node)
    ]


def first_layers_of(model: openvino.Model) -> list[str]:
    """Names of the layers that read the scan itself."""
    return [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in QUANTISED
        and any(_source(node, index).get_friendly_name() == "window" for index in range(node.get_input_size()))
    ]


def bypass(model: openvino.Model, *, layer: str) -> openvino.Model:
    """A copy of a quantised model in which one layer's inputs are no longer rounded, nor those of layers beside it that
    share them.
    """
    copied = model.clone()
    for node in copied.get_ops():
        if node.get_friendly_name() == layer and node.get_type_name() in QUANTISED:
            for rounding in _roundings(node):
                exact = rounding.input_value(0)
                for target in list(rounding.output(0).get_target_inputs()):
                    target.replace_source_output(exact)
    return copied


def _roundings(node: openvino.Node) -> list[openvino.Node]:
    """Where what a layer takes is rounded: before it, or before ops that only move values."""
    found = []
    for index in range(node.get_input_size()):
        source = _source(node, index)
        if source.get_type_name() == "FakeQuantize":
            found.append(source)
    return found


def _source(node: openvino.Node, index: int) -> openvino.Node:
    """Where what a layer takes comes from, before ops that only move values."""
    source = node.input_value(index).get_node()
    while source.get_type_name() in _MOVES:
        source = source.input_value(0).get_node()
    return source


def run_model(model: openvino.Model, *, inputs: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """Outputs by name for each of `inputs`, computed as the runtime does: 8 bits where quantised, else FP32."""
    settings = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
    request = import_openvino().Core().compile_model(model, "CPU", settings).create_infer_request()
    found = []
    for item in inputs:
        outputs = request.infer(dict(item), share_inputs=True, share_outputs=True)
        found.append({port.get_any_name(): np.array(array) for port, array in outputs.items()})
    return found


def _import_nncf() -> ModuleType:
    """Import nncf so that it cannot report home: as openvino, it does without the package that does so."""
    import_openvino()
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("nncf")
    except ImportError as error:
        raise BackendError("nncf is not installed", mend="pip install 'cmc-sdk[export]'") from error


@contextlib.contextmanager
def _quiet(nncf: ModuleType) -> Iterator[None]:
    """Without the library's notes, and without its bars, which it prints where results belong."""
    level = logging.getLogger("nncf").level
    nncf.set_log_level(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        nncf.set_log_level(level)
