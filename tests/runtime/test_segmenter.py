"""From scans to labels with a stub network: pairing, reuse, batches, refusals, and the record of it all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cmc_sdk import Volume
from cmc_sdk.errors import BackendError, CmcError, DataError, GeometryError, InputError
from cmc_sdk.runtime.backends.base import DecoderInputs
from cmc_sdk.runtime.core import (
    WindowSampler,
    intensity_statistics,
    model_grid,
    normalise,
    sample_window,
    window_starts,
)
from cmc_sdk.runtime.segmenter import Segmenter
from tests.reference import sliding as reference
from tests.runtime.core.grids import make_affine, move_centre
from tests.runtime.stubs import WINDOW, StubBackend, blob_scan, make_spec

FINE = move_centre(make_affine(spacing=(1.8, 1.5, 2.5), signs=(-1.0, 1.0, 1.0)), (24, 28, 18), (0, 0, 0))
TILTED = move_centre(make_affine(spacing=(2.0, 2.2, 1.6), angles=(0.2, -0.1, 0.3)), (20, 18, 26), (3.0, -2.0, 4.0))


def ct(seed=0, **options):
    return blob_scan(FINE, (24, 28, 18), seed=seed, **options)


def mr(affine=TILTED, size=(20, 18, 26), **options):
    return blob_scan(affine, size, seed=2, air=0.0, **options)


def segmenter(**options):
    return Segmenter(make_spec(**options), StubBackend())


def expected_alone(volume, modality, spec):
    """Labels and lead by the plain reference, one modality present."""
    grid = model_grid(volume.affine_mm, volume.size_vox, spacing_mm=spec.grid.spacing_mm)
    rule = spec.modality(modality).intensity
    statistics = intensity_statistics(volume, rule)
    network, logits = StubBackend(), {}
    for start in window_starts(grid.size_vox, window_vox=spec.grid.window_vox, overlap=spec.grid.overlap):
        affine = grid.affine_mm @ np.array([*np.eye(4)[:, :3].T, (*start, 1.0)]).T
        raw = sample_window(volume, affine_mm=affine, size_vox=spec.grid.window_vox, background=statistics.background)
        window = normalise(raw, rule=rule, statistics=statistics)[None, None]
        encoded = network.encode(modality, window)
        features = {name: encoded["features"] if name == modality else 0 * encoded["features"] for name in spec.names}
        presence = np.array([[float(name == modality) for name in spec.names]], np.float32)
        logits[start] = network.decode(modality, DecoderInputs(features, presence, encoded, window))[0]
    field = reference.blend(logits, size=grid.size_vox, window=spec.grid.window_vox)
    return reference.label_grid(
        field, model_affine=grid.affine_mm, target_affine=volume.affine_mm, target_size=volume.size_vox
    )


@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_the_whole_way_is_that_of_the_reference(modality):
    volume = ct() if modality == "ct" else mr()
    labels, confidence, lead = expected_alone(volume, modality, make_spec())
    result = segmenter().infer({modality: volume})
    clear = lead > 1e-3
    assert clear.mean() > 0.99
    assert np.array_equal(result.labels[modality].stored[clear], labels[clear])
    assert np.abs(result.confidence[modality].stored / 255.0 - confidence).max() < 0.01
    assert len(np.unique(labels)) == 3
    for index, name in enumerate(("liver", "spleen"), 1):
        millilitres = (result.labels[modality].stored == index).sum() * volume.voxel_volume_ml
        assert result.volumes_ml[modality][name] == pytest.approx(millilitres)


def test_a_pair_on_one_grid_runs_as_registered():
    found = segmenter().infer({"mr": mr(FINE, (24, 28, 18)), "ct": ct()})
    assert [group.modalities for group in found.record.plan] == [("ct", "mr")]
    assert found.record.presence == {"ct": True, "mr": True}
    assert found.record.warnings == ()
    for name in ("ct", "mr"):
        assert found.labels[name].same_grid(ct())
        assert found.labels[name].stored.dtype == np.uint8
    alone = segmenter().infer({"ct": ct()})
    assert not np.array_equal(alone.labels["ct"].stored, found.labels["ct"].stored)  # the partner counts


def test_a_pair_on_two_grids_is_labelled_each_on_its_own_and_beyond_the_reference():
    wide = move_centre(make_affine(spacing=(3.0, 3.0, 3.0)), (30, 30, 30), (12.0, 0.0, 0.0))
    scans = {"ct": ct(), "mr": mr(wide, (30, 30, 30), radius=40.0)}
    found = segmenter().infer(scans, pairing="registered")
    (group,) = found.record.plan
    assert group.modalities == ("ct", "mr")
    assert all(side * 2.0 >= 90.0 for side in group.grid_size_vox)
    for name, volume in scans.items():
        assert found.labels[name].same_grid(volume)
        assert set(np.unique(found.labels[name].stored)) == {0, 1, 2}
    # Where the reference ends the other goes on, and is labelled there.
    index = np.argwhere(found.labels["mr"].stored > 0)
    place = index @ wide[:3, :3].T + wide[:3, 3]
    assert (place[:, 0] > 25.0).any()
    # The same scan, alone on the same extent, looks the same far from the partner's ball.
    alone = segmenter().infer({"mr": scans["mr"]})
    assert (alone.labels["mr"].stored == found.labels["mr"].stored).mean() > 0.9


def test_the_reference_gives_the_axes_whatever_the_order_of_the_images():
    first = segmenter().infer({"ct": ct(), "mr": mr()}, pairing="registered")
    second = segmenter().infer({"mr": mr(), "ct": ct()}, pairing="registered")
    assert first.record.plan == second.record.plan
    for name in ("ct", "mr"):
        assert np.array_equal(first.labels[name].stored, second.labels[name].stored)


def test_separate_equals_each_alone():
    both = segmenter().infer({"ct": ct(), "mr": mr(FINE, (24, 28, 18))}, pairing="separate")
    assert [group.modalities for group in both.record.plan] == [("ct",), ("mr",)]
    for name, volume in (("ct", ct()), ("mr", mr(FINE, (24, 28, 18)))):
        alone = segmenter().infer({name: volume})
        assert np.array_equal(both.labels[name].stored, alone.labels[name].stored)
        assert np.array_equal(both.confidence[name].stored, alone.confidence[name].stored)


def test_auto_does_not_guess_a_common_frame():
    found = segmenter().infer({"ct": ct(), "mr": mr()})
    assert len(found.record.plan) == 2
    (warning,) = found.record.warnings
    assert "--pairing registered" in warning
    unpaired = segmenter(pairing="unpaired").infer({"ct": ct(), "mr": mr(FINE, (24, 28, 18))})
    assert len(unpaired.record.plan) == 2
    assert unpaired.record.warnings == ()
    told = segmenter(pairing="unpaired").infer({"ct": ct(), "mr": mr(FINE, (24, 28, 18))}, pairing="registered")
    assert len(told.record.plan) == 1


def test_scans_that_do_not_overlap_are_refused_with_both_names():
    far = move_centre(TILTED, (20, 18, 26), (500.0, 0.0, 0.0))
    with pytest.raises(GeometryError, match=r"ct.*mr|mr.*ct") as caught:
        segmenter().infer({"ct": ct(), "mr": mr(far)}, pairing="registered")
    assert "--pairing separate" in str(caught.value)
    assert len(segmenter().infer({"ct": ct(), "mr": mr(far)}).labels) == 2


@pytest.mark.parametrize(
    ("images", "kind", "words"),
    [
        ({}, InputError, "ct, mr"),
        ({"pet": "x.nii"}, InputError, "pet"),
        ({"ct": "no/such/file.nii"}, CmcError, "no/such/file.nii"),
    ],
)
def test_wrong_images_are_refused(images, kind, words):
    with pytest.raises(kind) as caught:
        segmenter().infer(images)
    assert words in str(caught.value)


def test_a_batch_below_one_is_refused():
    with pytest.raises(InputError, match="batch"):
        segmenter().infer({"ct": ct()}, batch=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_voxels_that_are_not_finite_are_refused(bad):
    volume = ct()
    array = volume.stored.astype(np.float32)
    array[3, 4, 5] = bad
    network = StubBackend()
    with pytest.raises(DataError, match="ct") as caught:
        Segmenter(make_spec(), network).infer({"ct": Volume(array, volume.affine_mm, name="a.nii")})
    assert "a.nii" in str(caught.value)
    assert network.encoded == []  # before anything runs


@pytest.mark.parametrize("values", [(np.nan,), (np.inf,), (-np.inf,), (np.inf, -np.inf)])
def test_logits_that_are_not_finite_are_refused(values):
    class Broken(StubBackend):
        def decode(self, modality, inputs):
            logits = super().decode(modality, inputs)
            logits[0, 1, 2, 3, : len(values)] = values
            return logits

    with pytest.raises(BackendError, match="not finite"):
        Segmenter(make_spec(), Broken()).infer({"ct": ct()})


def test_finite_logits_whose_sum_is_not_are_taken():
    class Large(StubBackend):
        def decode(self, modality, inputs):
            logits = super().decode(modality, inputs)
            logits[0, 1, 2, 3, :4] = np.finfo(np.float32).max
            return logits

    assert Segmenter(make_spec(), Large()).infer({"ct": ct()}).labels["ct"].size_vox == ct().size_vox


def never_constant(patch):
    """No window counts as constant any more, so none is reused."""
    found = WindowSampler.window
    patch.setattr(
        WindowSampler, "window", lambda self, start, *, threads: (found(self, start, threads=threads)[0], None)
    )


def test_air_is_reused_and_changes_nothing(monkeypatch):
    size = (64, 40, 30)
    wide = move_centre(make_affine(spacing=(2.0, 2.0, 2.0)), size, (30.0, 0.0, 0.0))
    scans = {"ct": blob_scan(wide, size), "mr": blob_scan(wide, size, seed=2, air=0.0, radius=14.0)}
    for given, batch in (({"ct": scans["ct"]}, 1), (scans, 2), (scans, 100)):
        reused = segmenter().infer(given, batch=batch)
        assert reused.record.windows_reused > 0
        with monkeypatch.context() as patch:
            never_constant(patch)
            plain = segmenter().infer(given, batch=batch)
        assert plain.record.windows_reused == 0
        assert plain.record.windows_run == reused.record.windows_run + reused.record.windows_reused
        for name in given:
            assert np.array_equal(reused.labels[name].stored, plain.labels[name].stored)
            assert np.array_equal(reused.confidence[name].stored, plain.confidence[name].stored)


def test_only_windows_of_the_same_value_are_reused(monkeypatch):
    array = np.full((70, 20, 20), -1000, np.int16)
    array[24:] = 40
    array[46:] = 280
    array[69, 19, 19] = 281  # the border is not constant
    volume = Volume(array, np.diag([2.0, 2.0, 2.0, 1.0]), name="steps")
    reused = segmenter(overlap=0.75).infer({"ct": volume})
    assert reused.record.windows_reused > 0
    never_constant(monkeypatch)
    plain = segmenter(overlap=0.75).infer({"ct": volume})
    assert np.array_equal(reused.labels["ct"].stored, plain.labels["ct"].stored)
    assert np.array_equal(reused.confidence["ct"].stored, plain.confidence["ct"].stored)
    assert len(np.unique(plain.labels["ct"].stored)) > 1


@pytest.mark.parametrize("pairing", ["registered", "separate"])
def test_batches_and_runs_give_the_same_labels(pairing):
    scans = {"ct": ct(), "mr": mr()}
    first = segmenter().infer(scans, pairing=pairing)
    for batch in (1, 3, 100):
        again = segmenter().infer(scans, pairing=pairing, batch=batch)
        for name in scans:
            assert np.array_equal(first.labels[name].stored, again.labels[name].stored)
            assert np.array_equal(first.confidence[name].stored, again.confidence[name].stored)
        assert again.volumes_ml == first.volumes_ml


def test_batches_are_no_larger_than_asked_and_absent_partners_are_said_to_be_absent():
    network = StubBackend()
    found = Segmenter(make_spec(), network).infer({"mr": mr()}, batch=3)
    assert {name for name, _ in network.encoded} == {"mr"}
    sizes = [shape[0] for _, shape in network.encoded]
    assert max(sizes) == 3
    assert sum(sizes) == found.record.windows_run
    assert all(shape[1:] == (1, WINDOW, WINDOW, WINDOW) for _, shape in network.encoded)
    for (modality, presence, features), size in zip(network.decoded, sizes, strict=True):
        assert modality == "mr"
        assert presence.dtype == np.float32
        assert presence.tolist() == [[0.0, 1.0]] * size
        assert features["ct"].shape == features["mr"].shape
        assert np.isfinite(features["ct"]).all()


def test_progress_counts_up_to_all_windows():
    calls = []
    found = segmenter().infer({"ct": ct(), "mr": mr()}, progress=lambda *call: calls.append(call))
    total = sum(group.windows for group in found.record.plan)
    assert found.record.windows_run + found.record.windows_reused == total
    assert {(stage, whole) for stage, _, whole in calls} == {("windows", total)}
    assert [done for _, done, _ in calls] == list(range(1, total + 1))


@pytest.mark.parametrize("size", [(3, 40, 5), (1, 1, 1), (8, 8, 8)])
def test_scans_smaller_than_a_window_are_padded_with_their_background(size):
    rng = np.random.default_rng(0)
    volume = Volume(rng.integers(-100, 200, size).astype(np.int16), np.diag([2.0, 2.0, 2.0, 1.0]), name="thin")
    labels, _, lead = expected_alone(volume, "ct", make_spec())
    found = segmenter().infer({"ct": volume}).labels["ct"].stored
    assert np.array_equal(found[lead > 1e-3], labels[lead > 1e-3])


@pytest.mark.parametrize(
    ("order", "signs"),
    itertools.islice(
        itertools.product([(0, 1, 2), (2, 0, 1), (1, 0, 2)], [(1.0, 1.0, 1.0), (-1.0, 1.0, -1.0)]), 1, None
    ),
)
def test_how_the_voxels_lie_in_the_file_does_not_matter(order, signs):
    base = ct()
    flips = tuple(slice(None, None, -1) if sign < 0 else slice(None) for sign in signs)
    turned = base.stored.transpose(order)[flips]
    change = np.zeros((4, 4))
    change[3, 3] = 1.0
    for new, old in enumerate(order):
        change[old, new] = signs[new]
        change[old, 3] += 0.0 if signs[new] > 0 else base.stored.shape[old] - 1
    other = Volume(turned, base.affine_mm @ change, name="turned")
    expected = segmenter().infer({"ct": base}).labels["ct"].stored.transpose(order)[flips]
    assert (segmenter().infer({"ct": other}).labels["ct"].stored == expected).mean() > 0.9999
