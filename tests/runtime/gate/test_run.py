"""The gate passes what is right and refuses planted faults by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from cmc_sdk.bundle import open_bundle, write_bundle
from cmc_sdk.bundle.precision import GateLimits
from cmc_sdk.errors import InputError, ParityError
from cmc_sdk.export import bundle as bundle_module
from cmc_sdk.export import export_network
from cmc_sdk.export.graphs import ExportedGraph
from cmc_sdk.export.parity import measure_parity
from cmc_sdk.runtime.gate.case import subsets_of
from cmc_sdk.runtime.session import Session
from cmc_sdk.training.engine import TorchBackend
from tests.export.exported import Exported

Change = Callable[[onnx.ModelProto], None]


def last_convolution(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    node = [node for node in model.graph.node if node.op_type == "Conv"][-1]
    return [tensor for name in node.input[1:] for tensor in model.graph.initializer if tensor.name == name]


def swap_channels(model: onnx.ModelProto) -> None:
    """Liver and spleen change places."""
    for tensor in last_convolution(model):
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[[0, 2, 1]], tensor.name))


def plant_nan(model: onnx.ModelProto) -> None:
    tensor = last_convolution(model)[0]
    array = numpy_helper.to_array(tensor).copy()
    array[1] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def written_graphs(exported: Exported, *, change: Change | None = None) -> list[ExportedGraph]:
    opened = open_bundle(exported.bundle)
    graphs = []
    for entry in opened.manifest.graphs:
        model = onnx.load_model_from_string(opened.read(entry.path))
        if change is not None and (entry.part, entry.modality) == ("decoder", "mr"):
            change(model)
        graphs.append(ExportedGraph(entry=entry, content=model.SerializeToString()))
    return graphs


def test_the_written_graphs_pass(exported: Exported) -> None:
    backends = {
        name: Session(exported.bundle, trust="development", backend=name).backend
        for name in ("onnxruntime", "openvino")
    }
    stages: list[tuple[str, int, int]] = []
    report = measure_parity(
        exported.spec,
        reference=TorchBackend(exported.network),
        candidates=backends,
        cases=[exported.case],
        limits=GateLimits(),
        progress=lambda *stage: stages.append(stage),
    )
    assert report, report.faults
    report.require()
    # Two backends, four modality runs of the patient, and both modalities of six stress scans.
    assert len(report.runs) == 2 * (4 + 6 * 2)
    assert report.foreground_vox > 500
    assert all(run.agreement.rates.flips <= 0.0001 for run in report.runs)
    assert stages[-1] == ("parity", 9, 9)
    expected = {"features", "skip_0", "skip_1", "skip_2", "logits"}
    assert {output for _, _, output in report.outputs} == expected
    for difference in report.outputs.values():
        assert 1 <= difference.windows <= 4
        assert difference.max_abs <= 1e-3 * difference.range


@dataclass
class Changed:
    """An untrue backend: the exported graphs with one change."""

    folder: Path
    exported: Exported

    def gate(self, change: Change) -> None:
        graphs = written_graphs(self.exported, change=change)
        manifest = open_bundle(self.exported.bundle).manifest
        fields = {name: getattr(manifest, name) for name in type(manifest).model_fields}
        fields = {name: value for name, value in fields.items() if name not in ("files", "schema_version")}
        path = self.folder / "changed.cmc"
        write_bundle(path, manifest_fields=fields, files={graph.entry.path: graph.content for graph in graphs})
        measure_parity(
            self.exported.spec,
            reference=TorchBackend(self.exported.network),
            candidates={"onnxruntime": Session(path, trust="development", backend="onnxruntime").backend},
            cases=[self.exported.case],
            limits=GateLimits(),
        ).require()


@pytest.mark.slow
def test_swapped_channels_are_refused_with_class_and_figure(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"onnxruntime f32, mr of patient with ct \+ mr: class liver: "):
        Changed(tmp_path, exported).gate(swap_channels)


def test_nan_is_refused_with_graph_and_count(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"onnxruntime f32: \d+ values of logits of decoder_mr are not finite"):
        Changed(tmp_path, exported).gate(plant_nan)


def test_an_export_that_the_gate_refuses_leaves_nothing(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = written_graphs(exported, change=swap_channels)
    monkeypatch.setattr(bundle_module, "export_graphs", lambda network: graphs)
    with pytest.raises(ParityError, match="class liver"):
        export_network(
            exported.network, spec=exported.spec, output=tmp_path / "out.cmc", cases=[exported.case],
            backends=["onnxruntime"],
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_the_spec_does_not_describe_is_refused(exported: Exported, tmp_path: Path) -> None:
    spec = exported.spec.model_copy(update={"grid": exported.spec.grid.model_copy(update={"window_vox": (32, 32, 32)})})
    with pytest.raises(InputError, match="window"):
        export_network(exported.network, spec=spec, output=tmp_path / "out.cmc")


@pytest.mark.parametrize(
    ("names", "subsets"),
    [
        (("ct",), [("ct",)]),
        (("ct", "mr"), [("ct", "mr"), ("ct",), ("mr",)]),
        (("a", "b", "c"), [("a", "b", "c"), ("a",), ("b",), ("c",)]),
    ],
)
def test_subsets(names: tuple[str, ...], subsets: Mapping[str, object]) -> None:
    assert subsets_of(names) == subsets
