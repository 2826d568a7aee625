"""Which scans go together: by what the caller says, by the frame that they name, or by their grids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cmc_sdk.errors import GeometryError
from cmc_sdk.runtime.planning.groups import plan_groups
from cmc_sdk.runtime.scans.prepared import PreparedScan, ScanFrame, prepare_scans
from tests.runtime.core.grids import move_centre
from tests.runtime.stubs import blob_scan, make_spec

GRID = np.diag([2.0, 2.0, 2.0, 1.0])
SIZE = (20, 18, 26)
OTHER = np.diag([2.2, 1.7, 2.5, 1.0])
ONE, TWO, NONE = (ScanFrame(nameable=True, uid=uid) for uid in ("1.2", "1.3", None))
FILE = ScanFrame(nameable=False, uid=None)


def pair(first: ScanFrame, second: ScanFrame, *, affine=GRID) -> dict[str, PreparedScan]:
    volumes = {"ct": blob_scan(GRID, SIZE), "mr": blob_scan(affine, SIZE, seed=2, air=0.0)}
    scans = prepare_scans(volumes, spec=make_spec())
    return {"ct": replace(scans["ct"], frame=first), "mr": replace(scans["mr"], frame=second)}


@pytest.mark.parametrize(
    ("frames", "affine", "together", "words"),
    [
        ((ONE, ONE), OTHER, True, ""),
        ((ONE, TWO), GRID, False, "different frames of reference"),
        ((NONE, NONE), GRID, False, "in none that is named"),
        ((ONE, NONE), GRID, False, "in none that is named"),
        ((FILE, FILE), GRID, True, ""),
        ((FILE, FILE), OTHER, False, "different grids"),
        ((ONE, FILE), GRID, True, ""),
        ((ONE, FILE), OTHER, False, "different grids"),
    ],
)
def test_auto_goes_by_what_the_files_say(frames, affine, together, words) -> None:
    groups, warnings = plan_groups(pair(*frames, affine=affine), spec=make_spec(), pairing="auto")
    assert [group.modalities for group in groups] == ([("ct", "mr")] if together else [("ct",), ("mr",)])
    assert len(warnings) == (1 if words else 0)
    assert all(words in warning and "--pairing registered" in warning for warning in warnings)


def test_the_caller_has_the_last_word() -> None:
    apart, warnings = plan_groups(pair(ONE, ONE), spec=make_spec(), pairing="separate")
    assert ([group.modalities for group in apart], warnings) == ([("ct",), ("mr",)], ())
    joined, warnings = plan_groups(pair(ONE, TWO), spec=make_spec(), pairing="registered")
    assert ([group.modalities for group in joined], warnings) == ([("ct", "mr")], ())


def test_a_network_of_unpaired_scans_has_them_apart_without_a_warning() -> None:
    groups, warnings = plan_groups(pair(ONE, ONE), spec=make_spec(pairing="unpaired"), pairing="auto")
    assert ([group.modalities for group in groups], warnings) == ([("ct",), ("mr",)], ())


def test_a_pair_that_does_not_overlap_is_refused() -> None:
    scans = pair(ONE, ONE, affine=move_centre(GRID, SIZE, (500.0, 0.0, 0.0)))
    with pytest.raises(GeometryError, match="do not overlap in space"):
        plan_groups(scans, spec=make_spec(), pairing="auto")


def test_windows_run_along_the_longest_axis() -> None:
    (group,), _ = plan_groups({"ct": pair(FILE, FILE)["ct"]}, spec=make_spec(), pairing="auto")
    assert group.ring_axis == int(np.argmax(group.grid.size_vox)) == 2
    places = [start[group.ring_axis] for start in group.starts]
    assert places == sorted(places)
    assert group.core_bytes > 2 * np.prod(SIZE)
