"""The log-sum-exp of padded windows in FP16: at which size of its terms the gate refuses it, and why."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import pytest
import torch

from cmc_sdk.bundle.precision import DEFAULT_LIMITS
from cmc_sdk.export.graphs import ExportedGraph, export_graphs
from cmc_sdk.export.parity import measure_parity
from cmc_sdk.export.precision.islands import find_candidates
from cmc_sdk.export.precision.mixed import to_mixed
from cmc_sdk.export.precision.rounded import to_rounded
from cmc_sdk.export.precision.sessions import RoundedBackend
from cmc_sdk.export.precision.view import GraphView, hoist_constants
from cmc_sdk.runtime.gate.reference import BackendReference
from cmc_sdk.runtime.gate.run import ParityReport
from cmc_sdk.training.model import CMCNetwork, ModelConfig, build_network
from tests.export.exported import make_case, make_spec

NAMES = ("mr",)
HARMLESS, HARMFUL = 2048.0, 4096.0
"""Standard deviations of the position terms. Trained ones are below 1; the harm was first measured at the second."""


def network_with_position_terms(size: float) -> CMCNetwork:
    network = build_network(ModelConfig(preset="tiny", window_vox=16), modalities=NAMES, num_classes=3, seed=5)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            step = size if "rel_pos" in name else 0.05
            parameter.add_(step * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def gate(graphs: Sequence[ExportedGraph], *, logsumexp_in_fp16: bool) -> tuple[ParityReport, set[str]]:
    """The gate on FP16 graphs whose delicate parts all stay FP32 but perhaps the log-sum-exp, and its nodes."""
    exact, rounded, delicate = [], [], set()
    for graph in graphs:
        model = onnx.load_model_from_string(graph.content)
        hoist_constants(model)
        parts = find_candidates(GraphView(model, name=graph.entry.path))
        delicate |= {node for part in parts if part.kind == "padded_logsumexp" for node in part.nodes}
        islands = [node for part in parts for node in part.nodes if part.kind != "padded_logsumexp"]
        if not logsumexp_in_fp16:
            islands += delicate & GraphView(model, name=graph.entry.path).nodes.keys()
        mixed = to_mixed(model, islands=islands, name=graph.entry.path)
        exact.append((graph.entry, model))
        rounded.append((graph.entry, to_rounded(mixed.model, name=graph.entry.path)))
    spec = make_spec(NAMES)
    reference = BackendReference(spec, RoundedBackend(exact, modalities=NAMES), name="onnxruntime f32")
    report = measure_parity(
        spec,
        reference=reference,
        candidates={"onnxruntime-rounded": RoundedBackend(rounded, modalities=NAMES)},
        cases=[make_case(NAMES)],
        limits=DEFAULT_LIMITS["fp16"],
    )
    return report, delicate


@pytest.mark.slow
def test_the_gate_refuses_it_from_where_a_scan_makes_it_overflow() -> None:
    report, _ = gate(export_graphs(network_with_position_terms(HARMLESS)), logsumexp_in_fp16=True)
    assert report, report.faults
    graphs = export_graphs(network_with_position_terms(HARMFUL))
    refused, nodes = gate(graphs, logsumexp_in_fp16=True)
    assert any("of features of encoder_mr are not finite" in fault for fault in refused.faults)
    # The patient's scan is labelled well: only the stress scans show it.
    assert not any(run.faults for run in refused.runs if run.case == "patient")
    assert "stress 3071" not in {run.case for run in refused.runs}
    # The message names the node, and it is one of the log-sum-exp.
    (note,) = refused.notes
    assert note.startswith("in encoder_mr of onnxruntime-rounded fp16 ")
    assert note.endswith(" (not finite) differs first")
    assert note.split()[6] in nodes
    # It is the log-sum-exp: in FP32 the same network passes.
    assert gate(graphs, logsumexp_in_fp16=False)[0]
