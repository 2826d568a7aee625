"""The editions that only a processor runs: int8, and bf16, which OpenVINO computes from the f32 graphs."""

from __future__ import annotations

from collections.abc import Sequence

from cmc_sdk.bundle.manifest import CalibratedRange
from cmc_sdk.bundle.precision import DEFAULT_LIMITS
from cmc_sdk.errors import BackendError
from cmc_sdk.export.editions import Edition, Made, Material
from cmc_sdk.export.int8.control import GraphTrial, control
from cmc_sdk.export.int8.harm import WindowLabels
from cmc_sdk.export.int8.ir import read_onnx, write_ir
from cmc_sdk.export.precision.calibration_windows import graph_inputs, sample_windows
from cmc_sdk.runtime.backends.base import Array
from cmc_sdk.runtime.backends.catalogue import gate_backends
from cmc_sdk.runtime.backends.openvino import computes_bf16

__all__ = ["WINDOWS", "bf16_edition", "calibrated_range", "int8_edition", "make_int8"]

WINDOWS, SYNTHETIC_WINDOWS = 6, 3
"""Windows of each modality that ranges are taken from."""

_SLACK, _MORE_EVEN = 0.05, 0.5
"""How far a window may lie outside of the calibrated ones: as a share of their span; of their least deviation."""


def int8_edition() -> Edition:
    """8-bit convolutions and matrix products on OpenVINO."""
    return Edition.with_default_limits("int8", backends=gate_backends("int8"), make=make_int8)


def bf16_edition() -> Edition:
    """OpenVINO in bf16: no graphs of its own, but a gate of its own, on a processor that has it."""
    return Edition.with_default_limits("bf16", backends=gate_backends("bf16"), make=_make_bf16)


def make_int8(material: Material) -> Made:
    """Quantise every graph on real windows, keep in FP32 what the labels need, and write OpenVINO's own format.

    Raises:
        InputError: No real window to calibrate on.
        ParityError: The labels change too much with half of a graph's layers in FP32.
        BackendError: nncf or openvino is not installed.
    """
    limits = DEFAULT_LIMITS["int8"]
    windows = sample_windows(material.cases, spec=material.spec, count=WINDOWS)
    # Eight bits end at the largest value that they were calibrated on; what no patient has must fit in too. Its labels
    # hang on roundings in many places, which the gate knows to leave out; here only patients' labels count.
    ranges = [*windows, *sample_windows([material.synthetic], spec=material.spec, count=SYNTHETIC_WINDOWS)]
    trials = [
        GraphTrial(
            graph.entry,
            read_onnx(graph.content),
            list(graph_inputs(ranges, graph=graph.entry, spec=material.spec, reference=material.reference)),
        )
        for graph in material.graphs
    ]
    names = material.spec.names
    labels = WindowLabels(windows, spec=material.spec, reference=material.reference, limits=limits)
    progress = material.progress
    made = control(
        trials,
        labels=labels,
        limits=limits,
        reference=material.reference,
        progress=None if progress is None else lambda done, total: progress("int8", done, total),
    )
    report = {
        "windows": len(ranges),
        "layers": {trial.graph.path: trial.layers for trial in made.trials},
        "in_f32": {trial.graph.path: list(trial.keep) for trial in made.trials},
        "attempts": list(made.steps),
    }
    known = {name: calibrated_range([item.images[name] for item in ranges if name in item.images]) for name in names}
    graphs = tuple(
        write_ir(trial.quantised, graph=trial.graph, calibrated=known[trial.graph.modality]) for trial in made.trials
    )
    return Made(graphs, report={"calibration": report})


def calibrated_range(windows: Sequence[Array]) -> CalibratedRange:
    """What these windows cover, and a little more."""
    lowest, highest = min(float(window.min()) for window in windows), max(float(window.max()) for window in windows)
    slack = _SLACK * (highest - lowest)
    return CalibratedRange(
        lowest=lowest - slack,
        highest=highest + slack,
        least_deviation=(1.0 - _MORE_EVEN) * min(float(window.std()) for window in windows),
    )


def _make_bf16(material: Material) -> Made:
    if not computes_bf16():
        raise BackendError(
            "this processor has no bf16, so the gate cannot run it here",
            mend="export on a processor that has it (AVX512-BF16 or AMX), or leave --bf16 out",
        )
    return Made()
