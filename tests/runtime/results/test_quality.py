"""The quality flag: nothing to say of a case like those of validation, and one reason for each way to differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cmc_sdk import Volume
from cmc_sdk.bundle.manifest import SeenRange, SubsetScore
from cmc_sdk.runtime.results.labelled import Labelled
from cmc_sdk.runtime.results.quality import judge
from cmc_sdk.runtime.scans.prepared import prepare_scans
from tests.runtime.stubs import make_spec

SPEC = make_spec()
SEEN = SeenRange(
    intensity=(40.0, 80.0),
    spacing_mm=(1.0, 3.0),
    extent_mm=(20.0, 60.0),
    volumes_ml={"liver": (0.5, 2.0), "spleen": (0.1, 0.5)},
    confidence=(0.8, 0.95),
    components={"liver": 1, "spleen": 1},
)
SUBSETS = tuple(SubsetScore(present=names, dice={}, mean_dice=0.8, cases=3) for names in (("ct",), ("ct", "mr")))


def scan(*, mean=60, spacing=(2.0, 2.0, 2.5), size=(16, 16, 12)):
    array = np.full(size, -1000, np.int16)
    array[2:-2, 2:-2, 2:-2] = mean
    array[3:-3, 3:-3, 3:-3] = mean + 5
    return Volume(array, np.diag([*spacing, 1.0]), name="scan")


def label_map():
    labels = np.zeros((16, 16, 12), np.uint8)
    labels[3:8, 3:8, 3:7] = 1  # 100 voxels of 0.01 ml
    labels[10:13, 10:13, 4:6] = 2
    return labels


def labelled(labels, confidence=0.9):
    counts = np.bincount(labels.ravel(), minlength=3)
    return Labelled(labels, np.full_like(labels, round(255 * confidence)), counts, counts * confidence)


def flag(volume=None, found=None, *, seen=SEEN, subsets=SUBSETS, partner=None, name="ct"):
    """The flag of one scan, or of a registered pair if `partner` says what became of the other."""
    volume = scan() if volume is None else volume
    volumes = {name: volume}
    items = {name: labelled(label_map()) if found is None else found}
    if partner is not None:
        volumes["mr"], items["mr"] = replace(volume, name="mr"), partner
    return judge(
        spec=SPEC,
        scans=prepare_scans(volumes, spec=SPEC),
        labelled=items,
        volumes_ml={
            key: {
                entry.name: float(item.counts[entry.index]) * volumes[key].voxel_volume_ml
                for entry in SPEC.classes.classes
            }
            for key, item in items.items()
        },
        groups=[tuple(volumes)],
        seen={"ct": seen} if seen else {},
        validated_subsets=subsets,
    )


def test_a_case_like_those_of_validation_is_ok():
    found = flag()
    assert found.status == "ok"
    assert found.reasons == ()
    pair = flag(partner=labelled(label_map()))
    assert pair.status == "ok", pair.reasons


def test_what_was_not_recorded_is_not_judged():
    assert flag(scan(mean=5000), seen=None, subsets=()).status == "ok"


def more_pieces():
    labels = label_map()
    labels[1:15:2, 1, 1] = 2
    return labels


def without_spleen_and_liver():
    return np.zeros((16, 16, 12), np.uint8)


def large_liver():
    labels = label_map()
    labels[2:14, 2:10, 2:10] = 1
    return labels


WIDE = SEEN.model_copy(update={"extent_mm": (100.0, 200.0)})
THICK = SEEN.model_copy(update={"spacing_mm": (5.0, 6.0)})


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ({"volume": scan(mean=110)}, "review", "mean intensity"),
        ({"volume": scan(mean=900)}, "reject", "mean intensity"),
        ({"seen": THICK}, "review", "spacing"),
        ({"seen": WIDE}, "review", "field of view"),
        ({"found": labelled(label_map(), confidence=0.5)}, "review", "confidence"),
        ({"found": labelled(large_liver())}, "review", "volume of liver"),
        ({"found": labelled(more_pieces())}, "review", "spleen is in"),
        ({"found": labelled(without_spleen_and_liver())}, "review", "no class was found"),
        ({"subsets": SUBSETS[1:]}, "review", "not validated"),
        ({"partner": labelled(np.roll(label_map(), 4, axis=0)), "seen": None}, "review", "disagree on"),
    ],
)
def test_each_way_to_differ_is_one_kind_of_reason(arguments, status, words):
    found = flag(**arguments)
    assert found.status == status
    assert found.reasons
    assert all(words in reason for reason in found.reasons), found.reasons
    assert all("ct" in reason for reason in found.reasons)


def test_a_scan_of_one_value_is_rejected():
    constant = Volume(np.full((16, 16, 12), 60, np.int16), np.diag([2.0, 2.0, 2.5, 1.0]), name="scan")
    found = flag(constant)
    assert found.status == "reject"
    assert any("one value" in reason for reason in found.reasons)


def test_reject_outweighs_review():
    found = flag(scan(mean=900), subsets=SUBSETS[1:])
    assert found.status == "reject"
    assert len(found.reasons) == 2
