"""Faults planted in written graphs: the gate refuses each by name, on volumes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from cmc_sdk import Volume
from cmc_sdk.bundle import open_bundle, write_bundle
from cmc_sdk.bundle.precision import DEFAULT_LIMITS, GateLimits
from cmc_sdk.errors import ParityError
from cmc_sdk.export.first_difference import first_difference
from cmc_sdk.export.parity import measure_parity
from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs
from cmc_sdk.runtime.backends.wrapped import WrappedBackend
from cmc_sdk.runtime.gate.case import ParityCase
from cmc_sdk.runtime.gate.run import ParityReport
from cmc_sdk.runtime.session import Session
from tests.export.exported import Exported

GRID = np.diag([2.0, 2.0, 2.0, 1.0])
Change = Callable[[onnx.ModelProto], None]


def last_convolution(model: onnx.ModelProto) -> onnx.NodeProto:
    return [node for node in model.graph.node if node.op_type == "Conv"][-1]


def change_weights(model: onnx.ModelProto, change: Callable[[np.ndarray], np.ndarray]) -> None:
    names = set(last_convolution(model).input[1:])
    for tensor in model.graph.initializer:
        if tensor.name in names:
            array = change(numpy_helper.to_array(tensor).copy())
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def swap_channels(model: onnx.ModelProto) -> None:
    change_weights(model, lambda array: array[[0, 2, 1]])


def shift_by_one(model: onnx.ModelProto, *, axis: int = 3) -> None:
    """A crop that begins one voxel late: logits[..., 1:] with the last plane repeated."""
    graph = model.graph
    maker = next(node for node in graph.node if "logits" in node.output)
    maker.output[list(maker.output).index("logits")] = "logits_before"
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == "logits":
                node.input[place] = "logits_before"
    pads = [0] * 10
    pads[5 + axis] = 1
    constants = {"crop_start": [1], "crop_end": [2**31], "crop_axis": [axis], "crop_pads": pads}
    graph.initializer.extend(numpy_helper.from_array(np.array(v, np.int64), k) for k, v in constants.items())
    graph.node.extend(
        [
            helper.make_node("Slice", ["logits_before", "crop_start", "crop_end", "crop_axis"], ["cropped"], "crop"),
            helper.make_node("Pad", ["cropped", "crop_pads"], ["logits"], "pad", mode="edge"),
        ]
    )


def changed_bundle(exported: Exported, path: Path, change: Change) -> Path:
    """The exported bundle with a fault in its decoder of mr, and right hashes."""
    opened = open_bundle(exported.bundle)
    files = {entry.path: opened.read(entry.path) for entry in opened.manifest.files}
    model = onnx.load_model_from_string(files["graphs/f32/decoder_mr.onnx"])
    change(model)
    files["graphs/f32/decoder_mr.onnx"] = model.SerializeToString()
    fields = {
        name: getattr(opened.manifest, name)
        for name in type(opened.manifest).model_fields
        if name not in ("files", "schema_version")
    }
    write_bundle(path, manifest_fields=fields, files=files)
    return path


def onnx_runtime(bundle: Path) -> Backend:
    return Session(bundle, trust="development", backend="onnxruntime").backend


def gate(
    exported: Exported, candidate: Backend, *, limits: GateLimits | None = None, case: ParityCase | None = None
) -> ParityReport:
    return measure_parity(
        exported.spec,
        reference=onnx_runtime(exported.bundle),
        candidates={"candidate": candidate},
        cases=[case or exported.case],
        limits=limits or GateLimits(),
    )


@pytest.mark.slow
def test_swapped_channels_are_named_with_class_place_and_node(exported: Exported, tmp_path: Path) -> None:
    report = gate(exported, onnx_runtime(changed_bundle(exported, tmp_path / "swapped.cmc", swap_channels)))
    with pytest.raises(ParityError) as refused:
        report.require()
    message = str(refused.value)
    assert "candidate f32, mr of patient with ct + mr: class liver: " in message
    assert "voxels at index (" in message
    assert "RAS (" in message
    assert "it looks as if liver and spleen had changed places" in message
    # The Conv is the node whose inputs are right and whose output is not.
    assert re.search(r"; in decoder_mr of candidate f32 Conv \S+ \([\d.]+ relative\) differs first;", message)


@pytest.mark.slow
def test_a_crop_off_by_one_voxel_is_named_with_direction(exported: Exported, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scans = {
        name: Volume(rng.integers(0, 200, (16, 20, 16)).astype(np.int16), GRID, name=name) for name in ("ct", "mr")
    }
    report = gate(
        exported,
        onnx_runtime(changed_bundle(exported, tmp_path / "shifted.cmc", shift_by_one)),
        case=ParityCase("patient", scans, "registered"),
    )
    assert not report
    fault = next(fault for fault in report.faults if "mr of patient with ct + mr" in fault)
    assert "it looks as if the labels lay 2.0 mm (1 voxel) too far along -y" in fault
    assert re.match(r"in decoder_mr of candidate f32 \w+ \S+ \([\d.]+ relative\) differs first", report.notes[0])


class Changed(WrappedBackend):
    """The right graphs, with something done to the logits of one modality."""

    def __init__(self, inner: Backend, change: Callable[[Array], None], *, precision: str = "f32") -> None:
        super().__init__(inner)
        self.change = change
        self.name, self.precision = "changed", precision

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        logits = super().decode(modality, inputs)
        if modality == "mr":
            self.change(logits)
        return logits


def plant(value: float, *, only_when: Callable[[Array], bool]) -> Callable[[Array], None]:
    def change(logits: Array) -> None:
        if only_when(logits):
            logits[0, 0, 0, 0, 0] = value

    return change


SLOW = pytest.mark.slow


@pytest.mark.parametrize("value", [np.nan, pytest.param(np.inf, marks=SLOW), pytest.param(-np.inf, marks=SLOW)])
def test_one_value_that_is_not_finite_in_one_window_is_refused(exported: Exported, value: float) -> None:
    seen: list[int] = []

    def fourth(_: Array) -> bool:
        seen.append(1)
        return len(seen) == 4

    report = gate(exported, Changed(onnx_runtime(exported.bundle), plant(value, only_when=fourth)))
    assert "candidate f32: 1 values of logits of decoder_mr are not finite" in report.faults


@pytest.mark.slow
def test_harm_on_a_stress_scan_alone_is_refused(exported: Exported) -> None:
    """A backend that overflows where a window holds one bright voxel in nothing, and labels patients well."""

    class Overflowing(Changed):
        def encode(self, modality: str, window: Array) -> dict[str, Array]:
            encoded = self.inner.encode(modality, window)
            if modality == "mr" and window.min() < -1000:
                encoded["skip_0"] = np.full_like(encoded["skip_0"], np.inf)
            return encoded

    report = gate(exported, Overflowing(onnx_runtime(exported.bundle), lambda logits: None))
    assert {run.case for run in report.runs} >= {"patient", "stress constant"}
    assert all(not run.faults for run in report.runs if run.case == "patient")
    assert any("of skip_0 of encoder_mr are not finite" in fault for fault in report.faults)


@pytest.mark.slow
def test_a_few_voxels_of_a_small_organ_are_refused_where_the_whole_map_hardly_changes(exported: Exported) -> None:
    report = gate(exported, onnx_runtime(exported.bundle), limits=DEFAULT_LIMITS["fp16"])
    assert report
    liver = next(run for run in report.runs if run.modality == "mr").agreement.classes[0]
    assert 0 < liver.reference_vox < 1000  # this scan's organs are small ones

    def grow(logits: Array) -> None:
        logits[:, 1, 7:9, 7:9, 7:9] += 100.0

    refused = gate(exported, Changed(onnx_runtime(exported.bundle), grow), limits=DEFAULT_LIMITS["fp16"])
    assert any("class liver: " in fault and "flip, more than" in fault for fault in refused.faults)


def small_model(*, weight: float, names: tuple[str, str, str] = ("a", "b", "c")) -> bytes:
    """x → Add → Relu, and beside it x → Mul; both meet in the output."""
    first, second, third = names
    constants: Mapping[str, float] = {"one": 1.0, "two": 2.0, "three": weight}
    nodes = [
        helper.make_node("Add", ["x", "one"], [first], "add"),
        helper.make_node("Mul", ["x", "two"], [second], "other branch"),
        helper.make_node("Mul", [first, "three"], [third], "weigh"),
        helper.make_node("Relu", [third], ["d"], "relu"),
        helper.make_node("Add", ["d", second], ["y"], "join"),
    ]
    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    initializers = [numpy_helper.from_array(np.array([v], np.float32), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "small", ports[:1], ports[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def test_the_first_node_that_differs_is_found_beside_a_branch_that_does_not() -> None:
    inputs = {"x": np.array([[1.0, 2.0, 3.0]], np.float32)}
    found = first_difference(small_model(weight=3.0), small_model(weight=4.0), inputs=inputs)
    assert found is not None
    assert (found.node, found.op_type, found.tensor) == ("weigh", "Mul", "c")
    assert found.relative == pytest.approx(1 / 3, abs=1e-6)
    assert str(found) == "Mul weigh (0.33 relative)"
    broken = first_difference(small_model(weight=3.0), small_model(weight=np.inf), inputs=inputs)
    assert str(broken) == "Mul weigh (not finite)"
    assert first_difference(small_model(weight=3.0), small_model(weight=3.0), inputs=inputs) is None


def test_tensors_of_other_names_are_passed_over() -> None:
    inputs = {"x": np.array([[1.0, 2.0, 3.0]], np.float32)}
    other = small_model(weight=4.0, names=("a", "b", "renamed"))
    found = first_difference(small_model(weight=3.0), other, inputs=inputs)
    assert found is not None
    assert found.node == "relu"
