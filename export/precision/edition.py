"""The FP16 edition of a bundle."""

from __future__ import annotations

from cmc_sdk.errors import BundleError
from cmc_sdk.export.editions import Edition, Made, Material
from cmc_sdk.export.graphs import ExportedGraph
from cmc_sdk.export.onnx_file import inspect_graph
from cmc_sdk.export.precision.calibration import Calibrated, calibrate
from cmc_sdk.export.precision.calibration_windows import graph_inputs, sample_windows
from cmc_sdk.export.precision.rounded import to_rounded
from cmc_sdk.export.precision.sessions import RoundedBackend
from cmc_sdk.export.precision.static_checks import check_graph
from cmc_sdk.runtime.backends.catalogue import gate_backends

__all__ = ["ROUNDED", "WINDOWS", "fp16_edition", "make_fp16"]

WINDOWS = 4
"""Windows of each modality that a graph is calibrated on."""

ROUNDED = "onnxruntime-rounded"
"""The gate's name for FP16 graphs whose FP16 tensors are really rounded (`rounded`)."""


def fp16_edition() -> Edition:
    """FP16 with FP32 islands, held against f32 as ONNX Runtime runs it and as accelerators round it."""
    return Edition.with_default_limits("fp16", backends=gate_backends("fp16"), make=make_fp16)


def make_fp16(material: Material) -> Made:
    """Calibrate and convert every graph.

    Raises:
        InputError: No real window to calibrate on.
        ParityError: FP16 cannot hold a graph.
        BundleError: A graph breaks a rule.
    """
    windows = sample_windows(material.cases, spec=material.spec, count=WINDOWS)
    graphs: list[ExportedGraph] = []
    rounded = []
    report = {}
    for index, graph in enumerate(material.graphs):
        if material.progress is not None:
            material.progress("fp16", index, len(material.graphs))
        inputs = list(graph_inputs(windows, graph=graph.entry, spec=material.spec, reference=material.reference))
        made = calibrate(graph.content, name=graph.entry.path, inputs=inputs)
        graphs.append(_written(graph, made))
        rounded.append((graphs[-1].entry, to_rounded(made.model, name=graphs[-1].entry.path)))
        report[graphs[-1].entry.path] = made.to_dict()
    if material.progress is not None:
        material.progress("fp16", len(material.graphs), len(material.graphs))
    backend = RoundedBackend(rounded, modalities=material.spec.names)
    return Made(tuple(graphs), checks={ROUNDED: backend}, report={"calibration": report})


def _written(graph: ExportedGraph, made: Calibrated) -> ExportedGraph:
    path = graph.entry.path.replace("graphs/f32/", "graphs/fp16/")
    content = made.model.SerializeToString(deterministic=True)
    inputs, outputs = inspect_graph(content, name=path)
    ports = {item.name: item.shape for item in (*graph.entry.inputs, *graph.entry.outputs)}
    if {**inputs, **outputs} != ports:
        raise BundleError(f"{path}: its inputs and outputs are not those of the f32 graph", mend="report this network")
    entry = graph.entry.model_copy(update={"path": path, "precision": "fp16", "islands": made.islands})
    check_graph(content, graph=entry)
    return ExportedGraph(entry=entry, content=content)
