"""The padded window's log-sum-exp planted in FP16: from which weights on it does harm, and who refuses it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from cmc_sdk.bundle.manifest import Graph
from cmc_sdk.bundle.precision import DEFAULT_LIMITS
from cmc_sdk.errors import ParityError
from cmc_sdk.export.graphs import ExportedGraph, export_graphs
from cmc_sdk.export.parity import ParityReport, measure_parity
from cmc_sdk.export.precision.islands import find_candidates
from cmc_sdk.export.precision.mixed import to_mixed
from cmc_sdk.export.precision.rounded import to_rounded
from cmc_sdk.export.precision.sessions import RoundedBackend
from cmc_sdk.export.precision.view import GraphView
from cmc_sdk.training.engine import TorchBackend
from cmc_sdk.training.model import ModelConfig, build_network
from tests.export.exported import make_case, make_spec
from tests.export.precision.parts import attention_graph, run, tokens

HARMLESS, HARMFUL = 1000.0, 3000.0
"""Standard deviations of the relative-position weights of `parts.attended`; those of a trained network are below 1."""


def rounded(content: bytes, *, planted: bool) -> onnx.ModelProto:
    """The graph in FP16, really rounded, with every delicate part in FP32; `planted`: but the log-sum-exp."""
    model = onnx.load_model_from_string(content)
    islands = {
        node
        for candidate in find_candidates(GraphView(model, name="graph.onnx"))
        for node in candidate.nodes
        if not (planted and candidate.kind == "padded_logsumexp")
    }
    return to_rounded(to_mixed(model, islands=islands, name="graph.onnx").model, name="graph.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "harm"), [(1.0, False), (HARMLESS, False), (HARMFUL, True)])
def test_its_maxima_are_taken_out_so_harm_begins_where_its_sums_pass_fp16(scale: float, harm: bool) -> None:
    content = attention_graph(scale=scale)
    expected = run(content, h=tokens(3))
    spared, planted = (run(rounded(content, planted=value), h=tokens(3)) for value in (False, True))
    assert np.isfinite(spared).all()
    assert np.isfinite(planted).all() == (not harm)
    if not harm:
        size = np.abs(expected).max()
        assert np.abs(planted - expected).max() / size <= 1.5 * np.abs(spared - expected).max() / size + 1e-3


@pytest.mark.slow
def test_the_gate_refuses_it_on_volumes_by_graph_and_output() -> None:
    network = build_network(ModelConfig(preset="tiny", window_vox=16), modalities=("mr",), num_classes=3, seed=5)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            scale = 4096.0 if "rel_pos" in name else 0.05
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    graphs = export_graphs(network.eval())
    spared, planted = (_gate(graphs, reference=TorchBackend(network), planted=value) for value in (False, True))
    assert not [fault for fault in spared.faults if "not finite" in fault]
    with pytest.raises(ParityError, match=r"values of \w+ of encoder_mr are not finite"):
        planted.require()


def _gate(graphs: list[ExportedGraph], *, reference: TorchBackend, planted: bool) -> ParityReport:
    half: list[tuple[Graph, onnx.ModelProto]] = [
        (graph.entry, rounded(graph.content, planted=planted)) for graph in graphs
    ]
    return measure_parity(
        make_spec(("mr",)),
        reference=reference,
        candidates={"onnxruntime-rounded": RoundedBackend(half, modalities=("mr",))},
        cases=[make_case(("mr",))],
        limits=DEFAULT_LIMITS["fp16"],
    )
