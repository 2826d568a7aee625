"""From a data list to rows: who is measured, with which modalities, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cmc_sdk import Volume, read_volume, write_volume
from cmc_sdk.bundle.manifest import Grid, ModalitySpec
from cmc_sdk.errors import DataError, GeometryError, InputError
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.training.data.datalist import Case, Datalist
from cmc_sdk.training.evaluation import (
    default_subsets,
    evaluate_baseline,
    evaluate_cases,
    fit_nearest_class_mean,
    parse_subsets,
)

AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])


def reference_label(seed: int) -> np.ndarray:
    label = np.zeros((12, 10, 8), np.uint8)
    label[2 + seed % 3 : 6 + seed % 3, 2:6, 2:6] = 1
    label[8:11, 6:9, 1:4] = 2
    return label


def make_case(
    folder: Path, name: str, split: str, *, modalities: tuple[str, ...] = ("ct", "mr"), seed: int = 0
) -> Case:
    """Two contrasts of one label: the classes' mean intensities are 10, 100, 200 in ct, 50, 50, 90 in mr."""
    label = reference_label(seed)
    rng = np.random.default_rng(seed)
    images, labels = {}, {}
    for modality, means in (("ct", (10, 100, 200)), ("mr", (50, 50, 90))):
        if modality not in modalities:
            continue
        image = np.array(means, np.float32)[label] + rng.normal(0, 1, label.shape).astype(np.float32)
        images[modality], labels[modality] = folder / f"{name}_{modality}.nii", folder / f"{name}_{modality}_label.nii"
        write_volume(Volume(image, AFFINE), images[modality])
        write_volume(Volume(label, AFFINE), labels[modality])
    return Case(
        case=name,
        patient=f"P-{name}",
        centre="A",
        split=split,
        images=images,
        labels=labels if split != "unlabelled" else {},
    )


def make_datalist(folder: Path, cases: list[Case]) -> Datalist:
    return Datalist(
        name="toy",
        modalities=(ModalitySpec(name="ct"), ModalitySpec(name="mr")),
        classes=ClassTable.from_names(["liver", "spleen"]),
        pairing="registered",
        cases=tuple(cases),
    )


class FakeSegmenter:
    """Answers with the reference of ct for every modality, and notes what it was given."""

    def __init__(self, datalist: Datalist) -> None:
        self.spec = datalist.model_spec(grid=Grid(spacing_mm=(2, 2, 2), window_vox=(16, 16, 16)))
        self.calls: list[tuple[tuple[str, ...], str]] = []

    def infer(self, images: Mapping[str, Volume], *, pairing: str = "auto") -> Any:
        self.calls.append((tuple(images), pairing))
        labels = {}
        for name, image in images.items():
            reference = image.name.replace(f"_{name}.nii", f"_{name}_label.nii")
            labels[name] = read_volume(reference, label=True) if name == "ct" else image.with_array(reference_label(1))
        return SimpleNamespace(labels=labels)


@pytest.fixture
def datalist(tmp_path: Path) -> Datalist:
    cases = [
        make_case(tmp_path, "a", "labelled", seed=2),
        make_case(tmp_path, "b", "test", seed=1),
        make_case(tmp_path, "c", "test", modalities=("mr",)),
        make_case(tmp_path, "u", "unlabelled"),
    ]
    return make_datalist(tmp_path, cases)


def test_each_case_runs_with_every_subset_that_it_can_serve(datalist: Datalist) -> None:
    segmenter, seen = FakeSegmenter(datalist), []
    rows = evaluate_cases(
        segmenter, datalist, split="test", method="m", seed=7, progress=lambda *step: seen.append(step)
    )
    assert [given for given, _ in segmenter.calls] == [("ct", "mr"), ("ct",), ("mr",), ("mr",)]
    assert {pairing for _, pairing in segmenter.calls} == {"registered"}
    assert len(rows) == 2 * (2 + 1 + 1 + 1)
    assert {(row.case, row.modality, row.presence) for row in rows} == {
        ("b", "ct", "ct+mr"), ("b", "mr", "ct+mr"), ("b", "ct", "ct"), ("b", "mr", "mr"), ("c", "mr", "mr"),
    }  # fmt: skip
    assert {(row.method, row.seed, row.split, row.centre) for row in rows} == {("m", 7, "test", "A")}
    assert all(row.dice == 1.0 for row in rows if row.modality == "ct" or row.case == "b")
    assert all(row.dice < 1.0 for row in rows if row.case == "c" and row.organ == "liver")
    assert seen[0] == ("evaluate", 0, 4)
    assert seen[-1] == ("evaluate", 4, 4)


def test_only_the_subsets_that_are_asked_for(datalist: Datalist) -> None:
    segmenter = FakeSegmenter(datalist)
    rows = evaluate_cases(segmenter, datalist, split="test", subsets=[("mr",)], pairing="separate")
    assert {row.presence for row in rows} == {"mr"}
    assert segmenter.calls == [(("mr",), "separate")] * 2


def test_a_split_without_a_label_is_refused(datalist: Datalist) -> None:
    with pytest.raises(DataError, match="split validation has no case with a label"):
        evaluate_cases(FakeSegmenter(datalist), datalist, split="validation")


def test_a_subset_that_no_case_can_serve_is_refused(datalist: Datalist, tmp_path: Path) -> None:
    alone = make_datalist(tmp_path, [make_case(tmp_path, "d", "test", modalities=("mr",))])
    with pytest.raises(DataError, match=r"no labelled case of split test has images of ct\+mr"):
        evaluate_cases(FakeSegmenter(alone), alone, split="test", subsets=[("mr",), ("ct", "mr")])


def test_other_classes_are_refused(datalist: Datalist) -> None:
    segmenter = FakeSegmenter(datalist)
    other = datalist.model_copy(update={"classes": ClassTable.from_names(["liver", "spleen", "kidney"])})
    with pytest.raises(DataError, match=r"has 3 classes \(liver, spleen, kidney\), the segmenter has 2"):
        evaluate_cases(segmenter, other, split="test")


def test_a_label_outside_the_class_table_or_off_the_grid_is_refused(datalist: Datalist, tmp_path: Path) -> None:
    path = datalist.split("test")[0].labels["ct"]
    write_volume(Volume(reference_label(0) * 3, AFFINE), path)
    with pytest.raises(DataError, match=r"label values 3, 6 are not in the class table \(0 … 2\)"):
        evaluate_baseline(datalist)
    write_volume(Volume(reference_label(0)[:-1], AFFINE), path)
    with pytest.raises(GeometryError, match="does not lie on the grid of its image"):
        evaluate_baseline(datalist)


def test_the_nearest_class_mean_rule(datalist: Datalist) -> None:
    rows = evaluate_baseline(datalist)
    assert {row.method for row in rows} == {"nearest_class_mean"}
    assert {(row.modality, row.presence) for row in rows} == {("ct", "ct"), ("mr", "mr")}
    by_name = {(row.case, row.modality, row.organ): row for row in rows}
    assert by_name["b", "ct", "liver"].dice == pytest.approx(1.0)
    assert by_name["b", "ct", "spleen"].dice == pytest.approx(1.0)
    assert by_name["b", "mr", "spleen"].dice == pytest.approx(1.0)
    assert by_name["b", "mr", "liver"].dice < 0.3  # the same intensity as the background
    means = fit_nearest_class_mean(datalist, modality=datalist.modalities[0]).means
    assert means[0] < means[1] < means[2]


def test_the_rule_matches_brute_force(datalist: Datalist) -> None:
    rule = fit_nearest_class_mean(datalist, modality=datalist.modalities[1])
    image = read_volume(datalist.split("test")[1].images["mr"])
    labels = rule.label(image)
    from cmc_sdk.runtime.core import intensity_statistics, normalise

    modality = datalist.modalities[1]
    statistics = intensity_statistics(image, modality.intensity)
    values = normalise(image.data.astype(np.float32), rule=modality.intensity, statistics=statistics)
    expected = np.argmin(np.abs(values[..., None] - rule.means), axis=-1)
    assert labels.stored.dtype == np.uint8
    assert np.mean(labels.stored == expected) > 0.9999
    assert labels.same_grid(image)


def test_a_class_that_no_labelled_case_has_is_never_chosen(tmp_path: Path) -> None:
    case = make_case(tmp_path, "a", "labelled")
    for path in case.labels.values():
        write_volume(Volume(np.minimum(reference_label(0), 1), AFFINE), path)
    rule = fit_nearest_class_mean(make_datalist(tmp_path, [case]), modality=ModalitySpec(name="ct"))
    assert math.isnan(rule.means[2])
    assert set(np.unique(rule.label(read_volume(case.images["ct"])).stored)) <= {0, 1}


def test_presence_is_read_as_a_user_writes_it() -> None:
    names = ("ct", "mr", "pet")
    assert default_subsets(names) == (names, ("ct",), ("mr",), ("pet",))
    assert default_subsets(("ct",)) == (("ct",),)
    assert parse_subsets(["mr+ct", "mr", "ct+mr"], modalities=names) == (("ct", "mr"), ("mr",))
    assert parse_subsets(["all"], modalities=("ct", "mr")) == (("ct", "mr"), ("ct",), ("mr",))
    assert parse_subsets([], modalities=("ct",)) == (("ct",),)
    with pytest.raises(InputError, match=r"'xr' is none of the modalities ct, mr, pet; join names"):
        parse_subsets(["ct+xr"], modalities=names)
