from __future__ import annotations

import numpy as np
import pytest
import torch

from cmc_sdk.errors import ConfigError, DataError, GeometryError
from cmc_sdk.imaging.classes import ClassTable, SegmentClass
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.training.data import scans
from cmc_sdk.training.data.config import IntensityAugmentation, SpatialAugmentation
from cmc_sdk.training.data.window_source import WindowSource
from tests.training.data.scenes import PLAIN_SPACE, config, ramp_study, spec_of

LATERAL = ({"name": "left", "mirror": "right"}, {"name": "right", "mirror": "left"})
RAW = {"clip": [0.0, 4000.0], "scale": "unit_range"}  # normalised values tell raw ones: v · 4000


def raw_source(datalist, *, split="labelled", seed=0, window=12, **changes):
    """A source whose images times 4000 are raw values."""
    modalities = tuple(
        item.model_copy(update={"intensity": type(item.intensity).model_validate(RAW)}) for item in datalist.modalities
    )
    datalist = datalist.model_copy(update={"modalities": modalities})
    return WindowSource(
        datalist, split=split, config=config(**changes), spec=spec_of(datalist, window=window), seed=seed
    )


def same(first, second) -> bool:
    return (
        first.cases == second.cases
        and torch.equal(first.presence, second.presence)
        and all(torch.equal(first.images[name], second.images[name]) for name in first.images)
        and all(torch.equal(first.labels[name], second.labels[name]) for name in first.labels)
        and all(torch.equal(first.body[name], second.body[name]) for name in first.body)
    )


AUGMENTED = {
    "spatial": SpatialAugmentation(rotate_probability=0.5, scale_probability=0.5, flip_probability=0.0),
    "intensity": IntensityAugmentation(probability=0.5, bias_probability=0.5),
}


def test_shapes_types_and_order(phantom):
    batch = WindowSource(
        phantom, split="labelled", config=config(**AUGMENTED), spec=spec_of(phantom, window=16, spacing=10.0), seed=0
    ).batch(0, size=3)
    assert list(batch.images) == list(batch.labels) == list(batch.body) == ["ct", "mr"]
    for name in ("ct", "mr"):
        assert batch.images[name].shape == (3, 1, 16, 16, 16)
        assert batch.images[name].dtype == torch.float32
        assert batch.labels[name].shape == (3, 16, 16, 16)
        assert batch.labels[name].dtype == torch.int64
        assert batch.body[name].shape == (3, 3, 4)
    assert batch.presence.tolist() == [[True, True]] * 3
    assert batch.presence.dtype == torch.bool
    assert batch.size == 3
    assert all(label.max() <= 5 for label in batch.labels.values())


def test_every_draw_is_a_function_of_seed_step_and_sample(phantom):
    def make(seed=0, **changes):
        spec = spec_of(phantom, window=16, spacing=10.0)
        return WindowSource(phantom, split="labelled", config=config(**{**AUGMENTED, **changes}), spec=spec, seed=seed)

    source = make()
    wanted = source.batch(7, size=4)
    source.batch(3, size=4)
    assert same(source.batch(7, size=4), wanted)  # whatever ran before
    assert same(make(cache=False).batch(7, size=4), wanted)
    part = source.batch(7, size=4, samples=[1, 3])  # two processes share a step
    assert part.cases == (wanted.cases[1], wanted.cases[3])
    assert torch.equal(part.images["mr"], wanted.images["mr"][[1, 3]])
    assert torch.equal(part.labels["ct"], wanted.labels["ct"][[1, 3]])
    assert not same(make(seed=1).batch(7, size=4), wanted)
    assert not same(source.batch(8, size=4), wanted)
    # Switching intensity augmentation off moves no window.
    plain = make(intensity=IntensityAugmentation(probability=0.0)).batch(7, size=4)
    assert torch.equal(plain.labels["ct"], wanted.labels["ct"])
    assert torch.equal(plain.body["mr"], wanted.body["mr"])
    assert not torch.equal(plain.images["ct"], wanted.images["ct"])


def test_samples_of_one_step_and_case_differ(tmp_path):
    source = raw_source(ramp_study(tmp_path, orientations={"one": "RAS"}), foreground_share=0.0)
    batch = source.batch(0, size=6)
    windows = [batch.images["one"][row] for row, case in enumerate(batch.cases) if case == "c0"]
    assert len(windows) == 3
    assert not torch.equal(windows[0], windows[1])
    assert not torch.equal(windows[1], windows[2])


def test_global_random_state_is_neither_used_nor_touched(phantom):
    source = WindowSource(
        phantom, split="labelled", config=config(**AUGMENTED), spec=spec_of(phantom, window=16, spacing=10.0), seed=0
    )
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    first = source.batch(1, size=2)
    assert np.random.get_state()[1][0] == 0  # noqa: NPY002
    assert torch.initial_seed() == 0
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    assert same(source.batch(1, size=2), first)


def test_a_pass_shows_every_case_once(phantom):
    source = WindowSource(
        phantom, split="labelled", config=config(), spec=spec_of(phantom, window=8, spacing=10.0), seed=0
    )
    passes = [{source.batch(step, size=2).cases for step in (start, start + 1)} for start in (0, 2, 4)]
    assert [{case for cases in each for case in cases} for each in passes] == [
        {case.case for case in phantom.split("labelled")}
    ] * 3


@pytest.mark.parametrize("second", ["LPS", "PIR", "SAL"])
def test_world_windows_show_the_same_physical_box(tmp_path, second):
    datalist = ramp_study(tmp_path, orientations={"one": "RAS", "two": second}, tilts={"two": 20.0})
    spatial = SpatialAugmentation(rotate_probability=1.0, rotate_degrees=8, scale=(1.1, 1.2), scale_probability=1.0)
    for split in ("labelled", "unlabelled"):
        batch = raw_source(datalist, split=split, spatial=spatial).batch(0, size=6)
        # Corners of a turned window may leave one of the volumes.
        near = (batch.images["one"] - batch.images["two"]).abs() < 5e-4  # 2 mm along x
        assert near.float().mean() > 0.93
        assert batch.images["one"].std() > 0.01


def test_the_reference_modality_gives_the_axes(tmp_path):
    # The second modality's frame is where the window lies, even if the first has no voxel there.
    datalist = ramp_study(tmp_path, orientations={"one": "RAS", "two": "RAS"}, centres={"two": (8.0, 0.0, 0.0)})
    datalist = datalist.model_copy(update={"reference_modality": "two"})
    batch = raw_source(datalist, foreground_share=0.0, body_share=0.0).batch(0, size=4)
    index = torch.tensor([5.5, 5.5, 5.5, 1.0])
    for sample in range(4):
        ratio = (batch.body["two"][sample] @ index)[0]
        assert 0.2 < ratio < 0.8


def test_body_windows_lie_at_the_same_place_of_each_body(tmp_path):
    centres = {"one": (500.0, -300.0, 80.0), "two": (0.0, 10.0, 0.0)}
    datalist = ramp_study(tmp_path, orientations={"one": "LPS", "two": "RAS"}, pairing="unpaired", centres=centres)
    batch = raw_source(datalist, split="unlabelled").batch(0, size=6)
    middle = torch.tensor([5.5, 5.5, 5.5, 1.0])
    for sample in range(6):
        one, two = batch.body["one"][sample] @ middle, batch.body["two"][sample] @ middle
        torch.testing.assert_close(one, two, atol=1e-5, rtol=0)
        assert bool(((one > 0) & (one < 1)).all())


def test_unpaired_samples_combine_cases_and_name_both(tmp_path):
    datalist = ramp_study(tmp_path, orientations={"one": "RAS", "two": "LPS"}, pairing="unpaired")
    source = raw_source(datalist)
    combined = {case for step in range(6) for case in source.batch(step, size=2).cases}
    assert combined >= {"c0+c1", "c1+c0"}
    assert source.batch(0, size=2).presence.all()
    with pytest.raises(ConfigError, match="unpaired: its modalities share no frame"):
        raw_source(datalist, pairing="world")


def test_body_affine_follows_the_window(tmp_path):
    """The window's values tell its RAS position; the body affine must agree with it, rotated and scaled too."""
    datalist = ramp_study(tmp_path, orientations={"one": "PIR"})
    spatial = SpatialAugmentation(rotate_probability=1.0, scale_probability=1.0, scale=(1.2, 1.3))
    batch = raw_source(datalist, spatial=spatial, window=10).batch(0, size=4)
    image = read_nifti(datalist.cases[0].images["one"])
    corners = np.array([[-0.5, -0.5, -0.5], np.array(image.size_vox) - 0.5])
    mm = corners @ image.affine_mm[:3, :3].T + image.affine_mm[:3, 3]
    low, high = mm.min(axis=0), mm.max(axis=0)  # without air, the body is the whole image
    for sample in range(4):
        for index in [(5, 5, 5), (2, 7, 4), (7, 3, 6)]:
            body = (batch.body["one"][sample] @ torch.tensor([*index, 1.0])).double().numpy()
            position = low + body * (high - low)
            value = float(batch.images["one"][sample, 0][index]) * 4000
            assert value == pytest.approx(1000 + position @ [1.0, 2.0, 3.0], abs=2.0)


def test_a_flip_mirrors_images_and_exchanges_mirror_classes(tmp_path):
    datalist = ramp_study(tmp_path, orientations={"one": "LPS", "two": "RAS"}, classes=LATERAL)
    plain = raw_source(datalist, spatial=PLAIN_SPACE).batch(0, size=4)
    flipped = raw_source(datalist, spatial=PLAIN_SPACE.model_copy(update={"flip_probability": 1.0})).batch(0, size=4)
    swap = torch.tensor([0, 2, 1])
    for name in ("one", "two"):
        torch.testing.assert_close(flipped.images[name], plain.images[name].flip(2), atol=1e-5, rtol=0)
        assert torch.equal(flipped.labels[name], swap[plain.labels[name].flip(1)])
        assert {1, 2} <= set(plain.labels[name].unique().tolist())
        # In the mirrored patient the right of the body is still at 1.
        assert bool((flipped.body[name][:, 0, 0] > 0).all())
        index = torch.tensor([3.0, 4.0, 5.0, 1.0])
        mirrored = torch.tensor([11 - 3.0, 4.0, 5.0, 1.0])
        expected = plain.body[name] @ mirrored
        expected[:, 0] = 1 - expected[:, 0]
        torch.testing.assert_close(flipped.body[name] @ index, expected, atol=1e-5, rtol=0)


def test_a_flip_with_unmarked_lateral_classes_is_refused(tmp_path):
    datalist = ramp_study(tmp_path, orientations={"one": "RAS"}, classes=("left lung", "right lung"))
    with pytest.raises(ConfigError, match="left lung, right lung have no mirror"):
        raw_source(datalist, spatial=PLAIN_SPACE.model_copy(update={"flip_probability": 0.5}))


def test_labelled_windows_hold_their_class_and_labels_lie_where_the_image_says(tmp_path):
    datalist = ramp_study(tmp_path, orientations={"one": "RAS", "two": "PIR"})
    spatial = SpatialAugmentation(rotate_probability=0.5, scale_probability=0.5)
    source = raw_source(datalist, foreground_share=1.0, window=8, spatial=spatial)
    seen = set()
    index = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for step in range(8):
        batch = source.batch(step, size=2)
        for sample in range(2):
            found = {value for label in batch.labels.values() for value in label[sample].unique().tolist()} - {0}
            assert found  # the voxel that was drawn lies within a quarter of the window
            seen |= found
        for name, label in batch.labels.items():
            image = read_nifti(datalist.cases[0].images[name])
            ends = np.array([[-0.5] * 3, np.array(image.size_vox) - 0.5]) @ image.affine_mm[:3, :3].T
            low, high = np.sort(ends + image.affine_mm[:3, 3], axis=0)
            body = batch.body[name][0].double().numpy()
            where = low + (index @ body[:, :3].T + body[:, 3]) * (high - low)
            inside = (np.abs(where) < 20).all(axis=1)
            wanted = np.where(inside, np.where(where[:, 0] < 0, 1, 2), 0)
            clear = (np.abs(np.abs(where) - 20).min(axis=1) > 2.5) & (np.abs(where[:, 0]) > 2.5)
            assert clear.sum() > 40
            np.testing.assert_array_equal(label[0].numpy().reshape(-1)[clear], wanted[clear])
    assert seen == {1, 2}


def test_the_share_of_windows_on_a_class_is_kept(tmp_path):
    datalist = ramp_study(tmp_path, orientations={"one": "RAS", "two": "PIR"})
    always, never = (raw_source(datalist, foreground_share=share, window=4) for share in (1.0, 0.0))
    hits = {
        name: [bool(label.any()) for step in range(4) for label in source.batch(step, size=6).labels["one"]]
        for name, source in (("always", always), ("never", never))
    }
    assert all(hits["always"])
    assert 0.05 < np.mean(hits["never"]) < 0.8


def test_unlabelled_windows_never_open_a_mask(tmp_path, monkeypatch):
    datalist = ramp_study(tmp_path, orientations={"one": "RAS", "two": "LPS"})
    broken = tmp_path / "mask.nii.gz"
    broken.write_bytes(b"not a mask")
    cases = tuple(
        case.model_copy(update={"labels": {"one": broken, "two": tmp_path / "nowhere.nii.gz"}})
        if case.split == "unlabelled"
        else case
        for case in datalist.cases
    )
    opened = []
    monkeypatch.setattr(scans, "read_nifti", lambda path: opened.append(path) or read_nifti(path))
    monkeypatch.setattr(scans, "read_label", lambda *_, **__: pytest.fail("a mask was read"))
    batch = raw_source(datalist.model_copy(update={"cases": cases}), split="unlabelled").batch(0, size=2)
    assert batch.labels == {}
    assert {path.name for path in opened} == {"c2_one.nii.gz", "c2_two.nii.gz"}


def test_unlabelled_windows_do_not_change_with_the_masks(tmp_path):
    """Neither place nor voxels may leak where the labels are."""
    datalist = ramp_study(tmp_path, orientations={"one": "RAS", "two": "LPS"})
    with_masks = tuple(
        case.model_copy(update={"labels": datalist.cases[0].labels}) if case.split == "unlabelled" else case
        for case in datalist.cases
    )
    first = raw_source(datalist, split="unlabelled").batch(0, size=4)
    second = raw_source(datalist.model_copy(update={"cases": with_masks}), split="unlabelled").batch(0, size=4)
    assert same(first, second)


def test_an_absent_modality_is_zeros_and_marked(tmp_path):
    datalist = ramp_study(tmp_path, orientations={"one": "RAS", "two": "LPS"})
    first = datalist.cases[0]
    alone = first.model_copy(update={"images": {"two": first.images["two"]}, "labels": {"two": first.labels["two"]}})
    datalist = datalist.model_copy(update={"cases": (alone, *datalist.cases[1:])})
    source = raw_source(datalist)
    batch = source.batch(0, size=2)
    row = batch.cases.index("c0")
    assert batch.presence[row].tolist() == [False, True]
    assert batch.presence[1 - row].tolist() == [True, True]
    assert not batch.images["one"][row].any()
    assert not batch.labels["one"][row].any()
    assert batch.images["two"][row].any()


def test_a_small_volume_is_padded_with_its_normalised_background(tmp_path):
    datalist = ramp_study(tmp_path, orientations={"one": "RAS"})
    batch = raw_source(datalist, window=32, foreground_share=0.0).batch(0, size=2)
    image = read_nifti(datalist.cases[0].images["one"])
    corner = batch.images["one"][:, 0][:, [0, -1]][:, :, [0, -1]][:, :, :, [0, -1]]
    assert float(corner.min()) * 4000 == pytest.approx(float(image.data.min()), abs=0.5)
    assert torch.isfinite(batch.images["one"]).all()


def test_faults_of_files_come_out_as_they_are(tmp_path):
    datalist = ramp_study(tmp_path, orientations={"one": "RAS", "two": "LPS"})
    first = datalist.cases[0]
    swapped = first.model_copy(update={"labels": {"one": first.labels["two"], "two": first.labels["two"]}})
    with pytest.raises(GeometryError, match="is not that of"):
        raw_source(datalist.model_copy(update={"cases": (swapped, *datalist.cases[1:])}))
    few = ClassTable(classes=(SegmentClass(index=1, name="a", color=(1, 2, 3)),))
    with pytest.raises(DataError, match=r"label values 2 are not in the class table \(0 … 1\)"):
        raw_source(datalist.model_copy(update={"classes": few}))
    with pytest.raises(DataError, match="no case in split test"):
        raw_source(datalist, split="test")
    lost = first.model_copy(update={"labels": {}})
    with pytest.raises(DataError, match="its one image has no label; c0: split labelled, but its two image"):
        raw_source(datalist.model_copy(update={"cases": (lost, *datalist.cases[1:])}))


@pytest.mark.data
def test_brats_background_is_the_normalised_border_value(test_data):
    from benchmarks.real.brats13_datalist import brats13_datalist

    datalist = brats13_datalist(test_data)
    cases = tuple(case for case in datalist.cases if case.case in {"pat0003", "tcga_du7294"})
    datalist = datalist.model_copy(update={"cases": cases})
    spec = spec_of(datalist, window=32, spacing=6.0)
    labelled = WindowSource(datalist, split="labelled", config=config(), spec=spec, seed=0).batch(0, size=1)
    assert labelled.labels["flair"].max() <= 4
    assert torch.equal(labelled.labels["flair"], labelled.labels["t1c"])
    # z-scored once more: the brain is near 0 ± 1, the air one constant well below it.
    for name in ("flair", "t1c"):
        values, counts = labelled.images[name].unique(return_counts=True)
        air = float(values[counts.argmax()])
        assert air < -1.5
        inside = labelled.images[name][labelled.images[name] > air + 0.1]
        assert abs(float(inside.mean())) < 1.0
    pool = WindowSource(datalist, split="unlabelled", config=config(), spec=spec, seed=0).batch(0, size=1)
    assert pool.labels == {}
