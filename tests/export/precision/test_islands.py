"""The delicate parts are found by structure, and are the modules that they should be."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest
from onnx import TensorProto, helper

from cmc_sdk.bundle import open_bundle
from cmc_sdk.errors import BundleError
from cmc_sdk.export.precision.islands import Candidate, find_candidates
from cmc_sdk.export.precision.view import GraphView
from tests.export.exported import Exported
from tests.export.precision.parts import attention_graph, decoder_graph, view_of

NORMS = ("phi1.1", "phi.1", "norm", "bn1")


def by_kind(view: GraphView) -> dict[str, Candidate]:
    return {candidate.kind: candidate for candidate in find_candidates(view)}


def ops(view: GraphView, candidate: Candidate) -> Counter[str]:
    return Counter(view.nodes[name].op_type for name in candidate.nodes)


@pytest.mark.slow
def test_a_padded_attention_has_a_log_sum_exp_and_a_softmax() -> None:
    view = view_of(attention_graph())
    found = by_kind(view)
    assert set(found) == {"padded_logsumexp", "attention_softmax", "normalisation"}
    inside = ops(view, found["padded_logsumexp"])
    # Log-sum-exps with their maxima taken out (that of a constant is folded by the exporter), and three log-add-exps.
    assert (inside["ReduceMax"], inside["ReduceSum"], inside["Log"], inside["Exp"]) == (3, 3, 6, 6)
    assert not set(inside) & {"MatMul", "Softmax"}
    assert ops(view, found["attention_softmax"])["Softmax"] == 1
    assert not set(ops(view, found["attention_softmax"])) & {"MatMul", "Exp", "Log"}
    assert ops(view, found["normalisation"]) == {"LayerNormalization": 1}
    for kind in ("padded_logsumexp", "attention_softmax"):
        assert all(name.startswith("attn/") for name in found[kind].nodes)
    assert not set(found["padded_logsumexp"].nodes) & set(found["attention_softmax"].nodes)


@pytest.mark.slow
def test_between_the_products_everything_belongs_to_one_of_the_two() -> None:
    view = view_of(attention_graph())
    known = {name for candidate in find_candidates(view) for name in candidate.nodes}
    products = [node for node in view.nodes.values() if node.op_type == "MatMul"]
    moving = {"Reshape", "Transpose", "Slice", "Unsqueeze", "Squeeze"}
    outside = Counter(node.op_type for name, node in view.nodes.items() if name not in known) - Counter(moving)
    # q, k, v; scaling; six products and the projection; the value of the virtual key.
    assert len(products) == 8
    assert {op for op in outside if op not in moving} == {"MatMul", "Add", "Mul"}


@pytest.mark.slow
def test_an_attention_without_padding_has_no_log_sum_exp() -> None:
    assert set(by_kind(view_of(attention_graph(window=3)))) == {"attention_softmax", "normalisation"}


def test_a_decoder_has_correlation_norms_and_logits() -> None:
    view = view_of(decoder_graph())
    found = by_kind(view)
    assert set(found) == {"mia_correlation", "normalisation", "logits"}
    correlation = ops(view, found["mia_correlation"])
    assert correlation["MatMul"] == correlation["Softmax"] == correlation["ReduceSum"] == 1
    assert found["logits"].nodes[0].startswith("out/")
    assert ops(view, found["normalisation"])["ReduceMean"] == 2
    assert all("phi1.1/" in name for name in found["normalisation"].nodes)


def test_the_floor_under_the_norm_of_a_channel_is_written() -> None:
    # torch's exporter drops an addition of 1e-12 as one of zero: a channel of zeros would then become NaN.
    view = view_of(decoder_graph())
    nodes = [view.nodes[name] for name in by_kind(view)["mia_correlation"].nodes]
    assert {"Clip", "Max"} & {node.op_type for node in nodes}


def test_every_norm_of_a_network_is_found_whole(exported: Exported) -> None:
    opened = open_bundle(exported.bundle)
    for graph in opened.manifest.graphs:
        view = GraphView(onnx.load_model_from_string(opened.read(graph.path)), name=graph.path)
        found = set(by_kind(view)["normalisation"].nodes)
        belong = {name for name in view.nodes if name.rpartition("/")[0].endswith(NORMS)}
        assert found == belong
        assert len(found) > 30


def test_a_delicate_op_that_is_not_known_is_refused() -> None:
    info = helper.make_tensor_value_info
    node = helper.make_node("Exp", ["x"], ["y"], name="somewhere/exp")
    graph = helper.make_graph([node], "g", [info("x", 1, ["N", 2])], [info("y", 1, ["N", 2])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(BundleError, match="Exp somewhere/exp belongs to no part"):
        find_candidates(GraphView(model, name="g.onnx"))


def test_nodes_need_names_of_their_own() -> None:
    info = helper.make_tensor_value_info
    nodes = [helper.make_node("Abs", ["x"], ["a"], name="n"), helper.make_node("Abs", ["a"], ["y"], name="n")]
    graph = helper.make_graph(nodes, "g", [info("x", TensorProto.FLOAT, [1])], [info("y", TensorProto.FLOAT, [1])])
    with pytest.raises(BundleError, match="'n' twice"):
        GraphView(helper.make_model(graph), name="g.onnx")
