"""The windows that a run would give the network, without running it."""

from __future__ import annotations

import numpy as np

from cmc_sdk.runtime.core import Threads, normalise, sample_window
from cmc_sdk.runtime.labelling.sampled_windows import sampled_windows
from cmc_sdk.runtime.planning.planner import plan_windows
from cmc_sdk.runtime.scans.prepared import prepare_scans
from tests.runtime.stubs import blob_scan, make_spec

SPEC = make_spec()
SCANS = prepare_scans(
    {
        "ct": blob_scan(np.diag([2.0, 2.0, 2.0, 1.0]), (20, 18, 26)),
        "mr": blob_scan(np.diag([2.2, 1.7, 2.5, 1.0]), (20, 18, 26), seed=2, air=0.0),
    },
    spec=SPEC,
)


def test_each_window_is_the_scan_there_normalised() -> None:
    plan = plan_windows(SCANS, spec=SPEC, pairing="registered")
    (group,) = plan.groups
    found = list(sampled_windows(SCANS, plan=plan, spec=SPEC, threads=Threads(1)))
    assert len(found) == plan.windows > 1
    for start, images in zip(group.starts, found, strict=True):
        assert tuple(images) == ("ct", "mr")
        affine = group.grid.affine_mm @ np.array([*np.eye(4)[:, :3].T, (*start, 1.0)]).T
        for name, image in images.items():
            scan = SCANS[name]
            raw = sample_window(
                scan.volume,
                affine_mm=affine,
                size_vox=SPEC.grid.window_vox,
                background=scan.statistics.background,
            )
            assert np.allclose(image, normalise(raw, rule=scan.rule, statistics=scan.statistics), atol=1e-4)


def test_scans_apart_give_windows_of_one_modality_each() -> None:
    plan = plan_windows(SCANS, spec=SPEC, pairing="separate")
    found = [tuple(images) for images in sampled_windows(SCANS, plan=plan, spec=SPEC, threads=Threads(1))]
    assert found == [group.modalities for group in plan.groups for _ in group.starts]
