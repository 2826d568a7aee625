"""Types against the manifest: what would be silently FP32 is refused by name before anything is built."""

from __future__ import annotations

import json

import pytest

from cmc_sdk.bundle.precision import Island
from cmc_sdk.errors import BackendError, BundleError
from cmc_sdk.runtime.backends.tensorrt.typecheck import LayerTypes, check_engine, check_network

ISLAND = Island(kind="attention_softmax", nodes=("softmax", "sum"), reason="0.1", difference=0.1)


def layer(node: str, kind: str, *types: str, out: str | None = None) -> LayerTypes:
    return LayerTypes(name=node, nodes=(node,) if node else (), kind=kind, inputs=types, outputs=(out or types[0],))


HALF = [
    layer("cast_in", "CAST", "FLOAT", out="HALF"),
    layer("conv", "CONVOLUTION", "HALF"),
    layer("up", "CAST", "HALF", out="FLOAT"),
    layer("softmax", "SOFTMAX", "FLOAT"),
    layer("sum", "REDUCE", "FLOAT"),
    layer("down", "CAST", "FLOAT", out="HALF"),
    layer("product", "MATRIX_MULTIPLY", "HALF", "HALF"),
    layer("present", "ELEMENTWISE", "FLOAT", "FLOAT", out="BOOL"),
    layer("shape", "SHAPE", "HALF", out="INT64"),
    layer("", "CONSTANT", "FLOAT"),
    layer("", "SHUFFLE", "FLOAT"),
    layer("cast_out", "CAST", "HALF", out="FLOAT"),
]
TYPED = [
    place
    for place, item in enumerate(HALF)
    if item.kind not in ("CAST", "CONSTANT") and item.nodes and item.outputs[0] in ("HALF", "FLOAT")
]
"""The layers whose type is prescribed; the others may have any."""
SINGLE = [layer("conv", "CONVOLUTION", "FLOAT"), layer("relu", "ACTIVATION", "FLOAT")]


def check(layers, precision="fp16", islands=(ISLAND,)):
    return check_network(layers, precision=precision, islands=islands, path="graphs/x.onnx")


def test_a_mixed_graph_passes_and_is_counted():
    report = check(HALF)
    assert (report.half, report.single) == (2, 2)
    assert report.half_nodes == {"conv", "product"}


def test_an_f32_graph_passes_and_is_counted():
    report = check(SINGLE, "f32", ())
    assert (report.half, report.single, report.half_nodes) == (0, 2, frozenset())


def test_fp32_under_the_name_fp16_is_refused():
    with pytest.raises(BundleError, match="called fp16, but none of its 1 convolutions and products is in FP16"):
        check(SINGLE, islands=())
    # One island is no excuse for all the rest.
    everything = Island(kind="logits", nodes=("conv", "relu"), reason="", difference=None)
    with pytest.raises(BundleError, match="an engine of it would be FP32"):
        check(SINGLE, islands=(everything,))


def test_fp16_under_the_name_f32_is_refused():
    with pytest.raises(BundleError, match=r"called f32, but the convolution 'conv' .*is HALF, not FLOAT"):
        check(HALF, "f32", ())


@pytest.mark.parametrize("place", TYPED)
def test_one_layer_of_the_wrong_type_is_named(place):
    right = HALF[place]
    other = "FLOAT" if right.outputs == ("HALF",) else "HALF"
    wrong = layer(right.name, right.kind, *(other for _ in right.inputs))
    where = "in the island attention_softmax" if right.name in ISLAND.nodes else "outside the islands"
    with pytest.raises(BundleError, match=f"'{right.name}' {where} is {other}") as caught:
        check([*HALF[:place], wrong, *HALF[place + 1 :]])
    assert caught.value.mend


def test_mixed_inputs_are_named():
    mixed = layer("add", "ELEMENTWISE", "HALF", "FLOAT", out="HALF")
    with pytest.raises(BundleError, match=r"the elementwise 'add' outside the islands is FLOAT/HALF, not HALF"):
        check([*HALF, mixed])


def test_several_faults_are_counted():
    wrong = [layer(f"relu{index}", "ACTIVATION", "FLOAT") for index in range(3)]
    with pytest.raises(BundleError, match=r"'relu0' .*\(and 2 more\)"):
        check([*HALF, *wrong])


def test_an_island_that_is_not_there_is_refused():
    gone = Island(kind="mia_correlation", nodes=("tau",), reason="", difference=0.0)
    with pytest.raises(BundleError, match="island mia_correlation has none of its 1 nodes"):
        check(HALF, islands=(ISLAND, gone))


def test_a_graph_for_openvino_is_refused():
    with pytest.raises(BundleError, match="OpenVINO"):
        check(SINGLE, "int8-openvino", ())


def told(*layers) -> str:
    return json.dumps({"Layers": list(layers)})


def built(name: str, kind: str, *nodes: str) -> dict:
    tensors = [{"Name": "t", "Format/Datatype": kind}]
    metadata = "\x1e".join(f"[ONNX Layer: {node}]" for node in nodes)
    return {"Name": name, "Inputs": tensors, "Outputs": tensors, "Metadata": metadata}


def inspect(text, precision="fp16", nodes=("conv", "product")) -> int:
    return check_engine(text, precision=precision, half_nodes=nodes, path="graphs/x.onnx")


def test_an_engine_of_the_right_types_passes_and_is_counted():
    text = told(built("conv", "Two wide channel vectorized row major FP16 format", "conv"), built("s", "Float", "sum"))
    assert inspect(text) == 1
    assert inspect(told(built("conv", "Row major linear FP32", "conv")), "f32") == 1


def test_an_engine_that_is_silently_fp32_is_refused():
    with pytest.raises(BackendError, match="computes 'conv' in FP32, the graph has it in FP16"):
        inspect(told(built("conv", "Row major linear FP32", "conv")))


def test_an_engine_that_is_silently_fp16_is_refused():
    with pytest.raises(BackendError, match="computes 'conv' in FP16, the graph has it in FP32"):
        inspect(told(built("conv", "Half", "conv")), "f32")


def test_a_melted_layer_shows_only_its_border_and_proves_nothing():
    melted = built("{ForeignNode[conv...product]}", "Float", "conv", "product")
    assert inspect(told(melted)) == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": 3}', '{"Layers": ["conv", "product"]}', '{"Layers": []}'])
def test_an_inspector_that_does_not_say_is_refused(text):
    with pytest.raises(BackendError, match="does not say"):
        inspect(text)
