"""What is judged case by case, and what is pooled over the real cases of a subset."""

from __future__ import annotations

import numpy as np

from cmc_sdk import Volume
from cmc_sdk.bundle.precision import GateLimits
from cmc_sdk.runtime.backends.base import Array, Backend, DecoderInputs
from cmc_sdk.runtime.gate.case import Answer, CaseKind, Masks, ParityCase, Subset
from cmc_sdk.runtime.gate.run import ParityReport, run_gate
from tests.export.exported import make_spec

SPEC = make_spec(("mr",), window=16)
LIMITS = GateLimits(min_dice=0.99, max_flips=0.001)


class Threshold(Backend):
    """Liver where a voxel is bright: labels are those of the scan, on the model's own grid."""

    name, precision, modalities = "threshold", "f32", ("mr",)

    def encode(self, modality: str, window: Array) -> dict[str, Array]:
        return {"features": window[..., :1, :1, :1]}

    def decode(self, modality: str, inputs: DecoderInputs) -> Array:
        window = inputs.window
        logits = np.zeros((len(window), 3, *window.shape[2:]), np.float32)
        logits[:, 2] = -99.0
        logits[:, 1] = np.where(window[:, 0] > 0.5, 9.0, -9.0)
        return logits


class Told:
    """A reference whose answers are written down."""

    name = "told"

    def __init__(self, answers: dict[str, np.ndarray]) -> None:
        self.answers = answers
        self.not_finite: dict[tuple[str, str], int] = {}

    def label(self, case: ParityCase, present: Subset) -> Answer:
        image = case.images["mr"]
        labels = image.with_array(self.answers[case.name])
        return Answer({"mr": labels}, {"mr": image.with_array(np.full(image.stored.shape, 255, np.uint8))})

    def undecided(self, case: ParityCase, present: Subset, *, precision: str) -> Masks:
        return {}


def scene(liver: int) -> np.ndarray:
    labels = np.zeros((16, 16, 16), np.uint8)
    labels[1:13, 1:13, 1 : 1 + liver] = 1
    return labels


def judge(flips: dict[str, int], *, kind: CaseKind = "real") -> ParityReport:
    """The gate on scans with a liver of 144 x 13 voxels, of which so many flip."""
    truth = {name: scene(13) for name in flips}
    cases = []
    for name, count in flips.items():
        image = scene(13).astype(np.float32)
        image[1, 1 : 1 + count, 1] = 0.0
        image[0, 0, 0] = 1e-3  # not one value all around: nothing is cut off as air
        cases.append(ParityCase(name, {"mr": Volume(image, np.diag([2.0, 2.0, 2.0, 1.0]))}, "auto", kind))
    spec = SPEC.model_copy(update={"modalities": (SPEC.modalities[0].model_copy(update={"intensity": unit_range()}),)})
    return run_gate(spec, reference=Told(truth), candidates={"a": Threshold()}, cases=cases, limits=LIMITS)


def unit_range() -> object:
    from cmc_sdk.bundle.manifest import IntensityRule

    return IntensityRule(clip=(0.0, 1.0), scale="unit_range")


def test_flips_are_pooled_over_real_cases_and_blamed_on_the_worst() -> None:
    assert judge({"one": 4}).faults != []  # 4 of 1872 are 0.21 %
    assert judge({"one": 4, "two": 0, "three": 0}).faults == []
    report = judge({"one": 1, "two": 6, "three": 0})
    (fault,) = report.faults
    assert fault == (
        "a f32, mr of two with mr: 7 of 5616 foreground voxels flip (0.125%), more than 0.10% (over 3 cases)"
    )


def test_synthetic_cases_are_judged_alone() -> None:
    report = judge({"one": 4, "two": 0, "three": 0}, kind="stress")
    (fault,) = report.faults
    assert "mr of one" in fault
    assert "4 of 1872 foreground voxels" in fault


def test_a_class_is_judged_in_every_case_by_itself() -> None:
    report = judge({"one": 0, "two": 12, "three": 0, **{f"more {index}": 0 for index in range(8)}})
    assert report.faults == []  # Dice .997, and few flips in all
    strict = LIMITS.model_copy(update={"small_class_vox": 2000, "small_class_flips": 0.005})
    truth = {"two": scene(13)}
    image = scene(13).astype(np.float32)
    image[1, 1:13, 1] = 0.0
    cases = [ParityCase("two", {"mr": Volume(image, np.diag([2.0, 2.0, 2.0, 1.0]))}, "auto")]
    spec = SPEC.model_copy(update={"modalities": (SPEC.modalities[0].model_copy(update={"intensity": unit_range()}),)})
    refused = run_gate(spec, reference=Told(truth), candidates={"a": Threshold()}, cases=cases, limits=strict)
    assert "12 voxels of a class of 1872 flip, more than 9" in refused.faults[0]
