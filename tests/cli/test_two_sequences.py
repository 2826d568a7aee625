"""A bundle for T2 and ADC on a whole study: what is picked, what is explained, where labels lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from cmc_sdk.bundle import write_bundle
from cmc_sdk.bundle.manifest import Grid, ModalitySpec, ModelSpec
from cmc_sdk.bundle.series_rule import SeriesRule
from cmc_sdk.imaging.classes import ClassTable
from tests.cli.command import Outcome
from tests.imaging.dicom.generated_study import write_generated_study

Cmc = Callable[..., Outcome]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prostate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of hand-written graphs whose manifest says which series T2 and ADC are."""
    pytest.importorskip("onnx")
    from tests.cli.graphs import make_graph

    names = ("t2", "adc")
    rules = (SeriesRule(words=("t2*",), without=("localizer",), min_slices=10), SeriesRule(words=("adc",)))
    spec = ModelSpec(
        modalities=tuple(
            ModalitySpec(name=name, dicom_modality="MR", series=rule) for name, rule in zip(names, rules, strict=True)
        ),
        reference_modality="t2",
        classes=ClassTable.from_names(["transition zone", "peripheral zone"]),
        grid=Grid(spacing_mm=(4, 4, 4), window_vox=(16, 16, 16), overlap=0.25),
    )
    bundle = tmp_path_factory.mktemp("prostate") / "prostate.cmc"
    graphs = [make_graph(part, name, modalities=names) for name in names for part in ("encoder", "decoder")]
    fields = {
        "name": "prostate",
        "version": "1",
        "licence": "Apache-2.0",
        "intended_use": "tests",
        "spec": spec,
        "graphs": tuple(entry for entry, _ in graphs),
        "gate": {},
        "provenance": {},
    }
    write_bundle(bundle, manifest_fields=fields, files={entry.path: content for entry, content in graphs})
    return bundle


def voxels_in_the_patient(segmentation: pydicom.Dataset, labels: nib.Nifti1Image) -> np.ndarray:
    """A SEG painted onto the grid of `labels` by nothing but its own frames' positions: PS3.3 C.7.6.2.1.1."""
    painted = np.zeros(labels.shape, np.uint8)
    to_index = np.linalg.inv(labels.affine) @ np.diag((-1.0, -1.0, 1.0, 1.0))
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    row_step, column_step = (float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing)
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    frames = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns)
    for pixels, groups in zip(frames, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(pixels)
        places = corner + np.outer(columns * column_step, orientation[:3]) + np.outer(rows * row_step, orientation[3:])
        index = np.rint(places @ to_index[:3, :3].T + to_index[:3, 3]).astype(int)
        owner = groups if "SegmentIdentificationSequence" in groups else shared
        painted[tuple(index.T)] = owner.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    return painted


def check_result(out: Path) -> None:
    for name in ("t2", "adc"):
        labels = nib.load(out / f"labels_{name}.nii.gz")
        segmentation = pydicom.dcmread(out / f"labels_{name}.seg.dcm")
        stored = np.asarray(labels.dataobj)
        assert stored.any()
        assert np.array_equal(voxels_in_the_patient(segmentation, labels), stored)
    record = json.loads((out / "record.json").read_text())
    assert record["presence"] == {"t2": True, "adc": True}
    assert [group["modalities"] for group in record["plan"]] == [["t2", "adc"]], "one frame of reference: one pair"


def run(cmc: Cmc, bundle: Path, study: Path, out: Path) -> dict[str, dict[str, str]]:
    words = ["infer", bundle, "--development", "--study", study, "-o", out, "--format", "nifti,dicom-seg"]
    done = cmc(*words, "--json")
    assert done.code == 0, done.err
    selection = json.loads(done.out)["selection"]
    chosen = {name: item["label"] for name, item in selection["chosen"].items()}
    reasons: dict[str, dict[str, str]] = {"chosen": chosen, "t2": {}, "adc": {}}
    for item in selection["rejected"]:
        reasons[item["modality"]][item["label"]] = item["reason"]
    check_result(out)
    return reasons


def test_a_generated_study(cmc: Cmc, prostate: Path, tmp_path: Path) -> None:
    study = write_generated_study(tmp_path / "study")
    told = run(cmc, prostate, study, tmp_path / "out")
    assert told["chosen"] == {"t2": "4 t2_tse_tra", "adc": "7 ep2d_diff_tra_ADC"}
    assert told["adc"]["9 ADC of another patient"] == "it is of another patient than the series that was chosen first"
    assert told["adc"]["6 ep2d_diff_tra [b=800]"] == "no word of its header is 'adc'"
    assert len(told["t2"]) == len(told["adc"]) == 5


@pytest.mark.data
def test_a_patients_study(cmc: Cmc, prostate: Path, test_data: Path, tmp_path: Path) -> None:
    told = run(cmc, prostate, test_data / "dicom_mr_prostatex0000", tmp_path / "out")
    assert told["chosen"] == {"t2": "4 t2_tse_tra", "adc": "7 ep2d_diff_tra_DYNDIST_ADC"}
    assert set(told["t2"]) == {
        "6 ep2d_diff_tra_DYNDIST [b=50]",
        "6 ep2d_diff_tra_DYNDIST [b=400]",
        "6 ep2d_diff_tra_DYNDIST [b=800]",
        "7 ep2d_diff_tra_DYNDIST_ADC",
        "8 ep2d_diff_tra_DYNDISTCALC_BVAL",
    }
    assert told["t2"]["7 ep2d_diff_tra_DYNDIST_ADC"] == "no word of its header is 't2*'"
    assert told["adc"]["4 t2_tse_tra"] == "no word of its header is 'adc'"


@pytest.mark.data
def test_a_strangers_crop_in_a_study_leaves_a_choice_and_a_rule_takes_it_away(
    cmc: Cmc, prostate: Path, test_data: Path, tmp_path: Path
) -> None:
    done = cmc("infer", prostate, "--development", "--study", test_data / "dicom_mr_pgbm003", "-o", tmp_path / "out")
    assert done.code == 2
    assert "no series fits t2 or adc" in done.error
    for label in ("HippoCrop", "11 T1post", "36468 FLAIR_reg"):
        assert label in done.error
