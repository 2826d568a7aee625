"""What an exported bundle holds, what export_bundle takes from a run, and what is refused before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cmc_sdk.bundle import open_bundle
from cmc_sdk.errors import InputError
from cmc_sdk.export import bundle as bundle_module
from cmc_sdk.export import export_bundle, export_network
from cmc_sdk.export.cases import crop_volume, real_cases
from cmc_sdk.export.parity import ParityCase
from cmc_sdk.training.data import Case, Datalist
from cmc_sdk.training.engine import Run, StagesConfig, TrainConfig
from tests.export.exported import Exported, make_case, make_spec


def test_the_manifest_says_what_was_given(exported: Exported) -> None:
    manifest = open_bundle(exported.bundle).manifest
    assert (manifest.name, manifest.version, manifest.licence) == ("small", "2", "Apache-2.0")
    assert manifest.spec == exported.spec
    assert manifest.gate["f32"].min_dice == 0.999
    assert manifest.validated_subsets[0].present == ("ct", "mr")
    assert manifest.seen["ct"].intensity == (-100.0, 100.0)
    assert manifest.provenance["seed"] == 3
    assert set(manifest.provenance["exported_with"]) == {"cmc-sdk", "torch"}


def test_parity_is_written_with_the_figures_of_every_run(exported: Exported) -> None:
    parity = json.loads(open_bundle(exported.bundle).read("parity.json"))["f32"]
    assert parity["passed"] is True
    runs = {(run["case"], run["backend"], tuple(run["present"]), run["modality"]): run for run in parity["runs"]}
    assert len(runs) == len(parity["runs"]) == 2 * (4 + 4 + 6 * 2)  # The patient, the golden scan, six stress scans.
    assert set(runs["patient", "onnxruntime", ("ct",), "ct"]["dice"]) == {"liver", "spleen"}
    assert runs["patient", "openvino", ("ct", "mr"), "mr"]["undecided_vox"] == 0
    assert runs["synthetic", "openvino", ("ct", "mr"), "mr"]["undecided_vox"] > 0
    assert parity["runs"][0]["kind"] == "real"
    assert "stress bright voxel" in {case for case, *_ in runs}
    assert {(item["graph"], item["output"]) for item in parity["outputs"]} >= {("decoder_ct", "logits")}


def test_golden_scans_are_synthetic_only(exported: Exported) -> None:
    opened = open_bundle(exported.bundle)
    folders = {entry.path.split("/")[1] for entry in opened.manifest.files if entry.path.startswith("golden/")}
    assert folders == {"golden.json", "synthetic"}


def test_an_output_that_exists_is_refused_before_any_work(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "there.cmc").mkdir()
    with pytest.raises(InputError, match=r"there\.cmc exists already"):
        export_bundle(tmp_path / "no run", output=tmp_path / "there.cmc")
    with pytest.raises(InputError, match="its folder does not exist"):
        export_network(exported.network, spec=exported.spec, output=tmp_path / "nowhere" / "out.cmc")


DATA = {"datalist": "/home/me/list.yaml", "spacing_mm": (2, 2, 2), "overlap": 0.25}


@pytest.fixture
def run(exported: Exported, tmp_path: Path) -> Run:
    (tmp_path / "datalist.yaml").write_text("name: study\n")
    config = TrainConfig.model_validate(
        {"method": "supervised", "seed": 4, "stages": StagesConfig(fused=1), "data": DATA}
    )
    summary = {
        "validated_subsets": [{"present": ["mr"], "dice": {"mr": {"liver": 0.5}}, "mean_dice": 0.5, "cases": 2}],
        "seen": {"mr": {"spacing_mm": [1.0, 2.0]}},
        "provenance": {"datalist_sha256": "cd" * 32, "data": {"folder": "C:\\Users\\me\\scans"}},
    }
    return Run(tmp_path, config, exported.spec, exported.network, tmp_path / "datalist.yaml", summary)


def test_a_run_gives_scores_ranges_and_provenance_without_folders(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(bundle_module, "export_network", lambda network, **fields: given.update(fields))
    case = make_case()
    export_bundle(run, output=tmp_path / "out.cmc", cases=[case])
    assert given["cases"] == [case]
    assert given["validated_subsets"][0].mean_dice == 0.5
    assert given["seen"]["mr"].spacing_mm == (1.0, 2.0)
    provenance = given["provenance"]
    assert (provenance["method"], provenance["seed"]) == ("supervised", 4)
    assert provenance["datalist_sha256"] == "cd" * 32
    assert provenance["config"]["data"]["datalist"] == "list.yaml"
    assert provenance["data"]["folder"] == "scans"


def make_datalist(folder: Path, images: list[dict[str, str]], **fields: str) -> Datalist:
    from cmc_sdk import write_volume

    case = make_case()
    cases = []
    for index, item in enumerate(images):
        paths = {name: folder / f"{index}_{name}.nii.gz" for name in item}
        for name, path in paths.items():
            write_volume(case.images[name], path)
        cases.append(Case(case=f"case{index}", patient=f"p{index}", images=paths, split=item[next(iter(item))]))
    spec = make_spec()
    return Datalist(
        name="study", modalities=spec.modalities, classes=spec.classes, cases=tuple(cases),
        pairing=fields.get("pairing", "registered"),
    )  # fmt: skip


def names(cases: list[ParityCase]) -> list[tuple[str, tuple[str, ...]]]:
    return [(case.name, tuple(case.images)) for case in cases]


def test_real_cases_show_every_modality(tmp_path: Path) -> None:
    both = {"ct": "validation", "mr": "validation"}
    datalist = make_datalist(tmp_path, [{"ct": "labelled"}, both, {"ct": "validation"}, both])
    assert names(real_cases(datalist, spec=make_spec())) == [("case1", ("ct", "mr")), ("case2", ("ct",))]
    unpaired = make_datalist(tmp_path, [{"ct": "test"}, {"ct": "test"}, {"mr": "test"}], pairing="unpaired")
    spec = make_spec().model_copy(update={"pairing": "unpaired"})
    found = real_cases(unpaired, spec=spec)
    assert names(found) == [("case0", ("ct",)), ("case2", ("mr",))]
    assert {case.pairing for case in found} == {"auto"}


def test_a_large_scan_is_cropped_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cmc_sdk.export import cases as cases_module

    monkeypatch.setattr(cases_module, "MAX_WINDOWS", 1)
    datalist = make_datalist(tmp_path, [{"ct": "validation", "mr": "validation"}])
    spec = make_spec(window=8)
    (case,) = real_cases(datalist, spec=spec)
    whole = make_case().images["ct"]
    part = case.images["ct"]
    assert part.stored.size < whole.stored.size
    assert part.same_grid(case.images["mr"])
    offset = np_round(whole, part)
    index = tuple(slice(start, start + size) for start, size in zip(offset, part.size_vox, strict=True))
    assert (whole.stored[index] == part.stored).all()


def np_round(whole: Any, part: Any) -> list[int]:
    import numpy as np

    shift = np.linalg.solve(whole.affine_mm[:3, :3], part.affine_mm[:3, 3] - whole.affine_mm[:3, 3])
    return np.rint(shift).astype(int).tolist()


def test_a_crop_far_outside_keeps_a_voxel() -> None:
    import numpy as np

    volume = make_case().images["mr"]
    assert crop_volume(volume, centre_mm=np.array([900.0, 0, 0]), extent_mm=10).stored.size > 0
