"""A whole bundle with half precision: what is written, that it labels as f32, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from cmc_sdk.bundle import open_bundle
from cmc_sdk.bundle.precision import GateLimits
from cmc_sdk.errors import InputError, ParityError
from cmc_sdk.export import export_network
from cmc_sdk.export.editions_of import EDITIONS
from cmc_sdk.export.precision import edition as edition_module
from cmc_sdk.export.precision.calibration import Calibrated, calibrate
from cmc_sdk.export.precision.edition import fp16_edition
from cmc_sdk.runtime.onnx.checks import check_graph_file
from cmc_sdk.runtime.session import Session
from tests.export.exported import make_case, make_network, make_spec

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Random weights on noise leave many voxels nearly open between two classes: the limits are wider than a user's."""
    path = tmp_path_factory.mktemp("half") / "half.cmc"
    edition = replace(fp16_edition(), limits=GateLimits(min_dice=0.99, max_flips=0.005))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EDITIONS, "fp16", lambda: edition)
        yield _export(path)


def _export(path: Path) -> Path:
    export_network(
        make_network(), spec=make_spec(), output=path, cases=[make_case()], precisions=["fp16"],
        backends=["onnxruntime"],
    )  # fmt: skip
    return path


def test_graphs_limits_passes_and_figures_are_written(bundle: Path) -> None:
    opened = open_bundle(bundle)
    manifest = opened.manifest
    half = [graph for graph in manifest.graphs if graph.precision == "fp16"]
    assert {graph.path for graph in half} == {
        f"graphs/fp16/{part}_{name}.onnx" for part in ("encoder", "decoder") for name in ("ct", "mr")
    }
    assert manifest.gate["fp16"].max_flips == 0.005
    assert {(item.backend, item.precision) for item in manifest.passed} >= {
        ("onnxruntime", "f32"), ("onnxruntime", "fp16"),
    }  # fmt: skip
    assert all(graph.islands for graph in half)
    assert all(island.reason for graph in half for island in graph.islands)
    parity = json.loads(opened.read("parity.json"))
    assert parity["fp16"]["passed"] is True
    assert set(parity["fp16"]["calibration"]) == {graph.path for graph in half}
    # The graphs as they are shipped, and as an accelerator rounds.
    assert {run["backend"] for run in parity["fp16"]["runs"]} == {"onnxruntime", "onnxruntime-rounded"}
    for graph in half:
        check_graph_file(opened.read(graph.path), graph=graph)


def test_the_planner_s_batches_give_the_same_labels(bundle: Path) -> None:
    case = make_case()
    exact = Session(bundle, backend="onnxruntime", trust="development").infer(case.images, pairing="registered")
    session = Session(bundle, backend="onnxruntime", precision="fp16", trust="development")
    for batch in (1, 2, 4):
        found = session.infer(case.images, pairing="registered", batch=batch)
        assert found.record.precision == "fp16"
        for name, labels in found.labels.items():
            differing = np.count_nonzero(labels.stored != exact.labels[name].stored)
            assert differing <= 0.005 * np.count_nonzero(labels.stored)


def _spoilt(content: bytes, **words: object) -> Calibrated:
    """Two classes change places in FP16."""
    model = onnx.load_model_from_string(content)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("out.weight"):
            array = onnx.numpy_helper.to_array(tensor)[[0, 2, 1]]
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return calibrate(model.SerializeToString(), **words)  # type: ignore[arg-type]


def test_a_precision_that_does_not_label_as_f32_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edition_module, "calibrate", _spoilt)
    words: dict[str, Any] = {
        "network": make_network(("mr",)), "spec": make_spec(("mr",)), "output": tmp_path / "out.cmc",
        "cases": [make_case(("mr",))], "precisions": ["fp16"], "backends": ["onnxruntime"],
    }  # fmt: skip
    with pytest.raises(ParityError, match=r"class (liver|spleen): (Dice 0|\d+ voxels of a class of \d+ flip)"):
        export_network(**words)
    assert list(tmp_path.iterdir()) == []

    # To a caller who says what to do about it, it is left out and nothing of it stays.
    refused: dict[str, ParityError] = {}
    manifest = export_network(**words, on_refusal=refused.__setitem__)
    assert "class" in refused.pop("fp16").what
    assert not refused
    assert {graph.precision for graph in manifest.graphs} == set(manifest.gate) == {"f32"}
    opened = open_bundle(tmp_path / "out.cmc")
    assert not any("fp16" in entry.path for entry in opened.manifest.files)
    assert set(json.loads(opened.read("parity.json"))) == {"f32"}


def test_without_a_real_scan_nothing_is_calibrated(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no real window of mr to calibrate on"):
        export_network(
            make_network(("mr",)), spec=make_spec(("mr",)), output=tmp_path / "out.cmc", precisions=["fp16"],
            backends=["onnxruntime"],
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
