"""The door of labelling: prepared scans and a plan in, labels out, the same as through a `Segmenter`."""

from __future__ import annotations

import numpy as np
import pytest

from cmc_sdk import Volume
from cmc_sdk.errors import BackendError, DataError
from cmc_sdk.runtime.backends.base import Array, DecoderInputs
from cmc_sdk.runtime.core import Threads
from cmc_sdk.runtime.labelling.label_scans import StageSeconds, label_scans, window_logits
from cmc_sdk.runtime.planning.planner import plan_windows
from cmc_sdk.runtime.scans.prepared import prepare_scans
from cmc_sdk.runtime.segmenter import Segmenter
from tests.runtime.stubs import WINDOW, StubBackend, blob_scan, make_spec

SPEC = make_spec()
GRID = np.diag([2.0, 2.0, 2.0, 1.0])
VOLUMES = {"ct": blob_scan(GRID, (40, 36, 30)), "mr": blob_scan(GRID, (40, 36, 30), seed=2, air=0.0)}


def label(volumes, *, backend, pairing="auto", progress=None, checkpoint=lambda: None, batch=1):
    scans = prepare_scans(volumes, spec=SPEC)
    plan = plan_windows(scans, spec=SPEC, pairing=pairing, batch=batch)
    stages = StageSeconds()
    found = label_scans(
        scans,
        plan=plan,
        spec=SPEC,
        backend=backend,
        threads=Threads(1),
        stages=stages,
        checkpoint=checkpoint,
        progress=progress,
    )
    return found, stages, plan


@pytest.mark.parametrize("pairing", ["registered", "separate"])
@pytest.mark.parametrize("batch", [1, 3])
def test_labels_are_those_of_a_segmenter(pairing, batch) -> None:
    steps, asked = [], []
    found, stages, plan = label(
        VOLUMES,
        backend=StubBackend(),
        pairing=pairing,
        batch=batch,
        progress=lambda *step: steps.append(step),
        checkpoint=lambda: asked.append(1),
    )
    expected = Segmenter(SPEC, StubBackend(), threads=1).infer(VOLUMES, pairing=pairing, batch=batch)
    for name in VOLUMES:
        assert np.array_equal(found[name].labels, expected.labels[name].stored)
        assert np.array_equal(found[name].confidence, expected.confidence[name].stored)
        assert found[name].counts.sum() == found[name].labels.size
    assert (stages.windows, stages.reused) == (expected.record.windows_run, expected.record.windows_reused)
    assert steps == [("windows", done, plan.windows) for done in range(1, plan.windows + 1)]
    assert len(asked) == plan.windows + len(plan.groups)


def test_a_voxel_that_is_not_finite_runs_nothing() -> None:
    array = VOLUMES["mr"].stored.astype(np.float32)
    array[1, 2, 3] = np.nan
    backend = StubBackend()
    with pytest.raises(DataError, match=r"mr .* has 1 voxels"):
        label({**VOLUMES, "mr": Volume(array, GRID)}, backend=backend)
    assert backend.encoded == []


def test_logits_of_windows_are_asked_for_as_in_a_run() -> None:
    backend = StubBackend()
    windows = [{"mr": np.full((WINDOW,) * 3, value, np.float32)} for value in (0.0, 1.0)]
    logits = window_logits(windows, backend=backend, spec=SPEC, present=("mr",))
    assert logits["mr"].shape == (2, SPEC.classes.num_classes, WINDOW, WINDOW, WINDOW)
    ((modality, presence, features),) = backend.decoded
    assert (modality, presence.tolist(), features["ct"].any()) == ("mr", [[0.0, 1.0]] * 2, False)

    class Short(StubBackend):
        def decode(self, modality: str, inputs: DecoderInputs) -> Array:
            return super().decode(modality, inputs)[:, 1:]

    with pytest.raises(BackendError, match="have shape"):
        window_logits(windows, backend=Short(), spec=SPEC, present=("mr",))
