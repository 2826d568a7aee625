"""Strongly typed graphs: one type a node, no cast twice, FP32 at the border, weights that FP16 cannot hold by name."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cmc_sdk.errors import BundleError
from cmc_sdk.export.precision.islands import find_candidates
from cmc_sdk.export.precision.mixed import Mixed, to_mixed
from cmc_sdk.export.precision.rounded import to_rounded
from cmc_sdk.export.precision.view import GraphView
from tests.export.precision.parts import attention_graph, decoder_graph, features, run, tokens

GRAPHS = {"attention": attention_graph, "decoder": decoder_graph}


def converted(name: str, *, without: str | None = None, only: str | None = None) -> tuple[Mixed, set[str]]:
    model = onnx.load_model_from_string(GRAPHS[name]())
    islands = {
        node
        for candidate in find_candidates(GraphView(model, name=name))
        for node in candidate.nodes
        if candidate.kind != without and only in (None, candidate.kind)
    }
    return to_mixed(model, islands=islands, name=name), islands


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("only", [None, "normalisation", "attention_softmax", "mia_correlation", "nothing"])
def test_each_node_has_one_type_and_islands_are_fp32(name: str, only: str | None) -> None:
    mixed, islands = converted(name, only=only)
    view = GraphView(mixed.model, name=name)
    computed = Counter[int]()
    for node in view.nodes.values():
        types = {view.types[value] for value in (*node.input, *node.output)} & {TensorProto.FLOAT, TensorProto.FLOAT16}
        if node.op_type == "Cast":
            assert len(types) == 2
            continue
        assert len(types) == 1
        if node.name in islands:
            assert types == {TensorProto.FLOAT}
        computed.update(types)
    assert computed[TensorProto.FLOAT16] > 0
    for value in (*mixed.model.graph.input, *mixed.model.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT


@pytest.mark.parametrize("name", GRAPHS)
def test_no_tensor_is_cast_twice_and_no_cast_is_undone(name: str) -> None:
    mixed, _ = converted(name)
    view = GraphView(mixed.model, name=name)
    casts = [node for node in view.nodes.values() if node.op_type == "Cast"]
    assert casts
    assert all(count == 1 for count in Counter(node.input[0] for node in casts).values())
    assert not [node for node in casts if node.input[0] in view.producer and view.producer[node.input[0]] in casts]
    assert not [tensor for tensor in view.weights if not view.consumers[tensor]]


@pytest.mark.parametrize("name", GRAPHS)
def test_values_are_those_of_f32_to_half_precision_at_any_batch(name: str) -> None:
    mixed, _ = converted(name)
    make, port = (tokens, "h") if name == "attention" else (features, "features")
    for batch in (1, 2, 4):
        given = make(batch)
        expected = run(GRAPHS[name](), **{port: given})
        for model in (mixed.model, to_rounded(mixed.model, name=name)):
            found = run(model, **{port: given})
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=4e-3 * np.abs(expected).max())


def chain(*numbers: float) -> onnx.ModelProto:
    """y = x · a · b · …, one node a factor."""
    info = helper.make_tensor_value_info
    names = [f"t{index}" for index in range(len(numbers))] + ["y"]
    nodes = [
        helper.make_node(
            "Mul", ["x" if not index else names[index], f"w{index}"], [names[index + 1]], name=f"mul{index}"
        )
        for index in range(len(numbers))
    ]
    weights = [numpy_helper.from_array(np.array(value, np.float32), f"w{index}") for index, value in enumerate(numbers)]
    graph = helper.make_graph(nodes, "g", [info("x", 1, ["N"])], [info("y", 1, ["N"])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def test_onnxruntime_hides_an_overflow_that_rounding_shows() -> None:
    # 300 · 300 is beyond FP16. ONNX Runtime computes the FP16 nodes in FP32 from end to end.
    mixed = to_mixed(chain(300.0, 300.0, 1 / 300, 1 / 300), islands=(), name="chain").model
    x = np.array([1.0], np.float32)
    assert run(mixed, x=x) == pytest.approx(1.0, abs=0.01)
    assert np.isinf(run(to_rounded(mixed, name="chain"), x=x)).all()


def test_weights_that_fp16_cannot_hold_are_named() -> None:
    mixed = to_mixed(chain(70000.0, 1e-9, 1e-5, 0.5), islands=(), name="chain")
    assert mixed.overflowing == {"w0 of mul0": 70000.0}
    assert mixed.faint == {"w1 of mul1": pytest.approx(1e-9), "w2 of mul2": pytest.approx(1e-5)}
    assert mixed.flushed == 1
    spared = to_mixed(chain(70000.0, 1e-9, 0.5), islands={"mul0", "mul1"}, name="chain")
    assert not spared.overflowing
    assert not spared.faint


def test_an_island_that_is_not_there_is_refused() -> None:
    with pytest.raises(BundleError, match="has no node elsewhere"):
        to_mixed(chain(1.0), islands={"elsewhere"}, name="chain")


def test_a_graph_that_is_not_f32_is_refused() -> None:
    mixed = to_mixed(chain(1.0), islands=(), name="chain")
    with pytest.raises(BundleError, match="FLOAT16: not an f32 graph"):
        to_mixed(mixed.model, islands=(), name="chain")
