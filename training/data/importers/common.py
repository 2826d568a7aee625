"""What every importer needs: class tables, modalities and splits from other programs' words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Literal

from cmc_sdk.bundle.manifest import IntensityRule, ModalitySpec
from cmc_sdk.errors import DataError
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.strict_model import StrictModel
from cmc_sdk.training.data.datalist import Case, Split
from cmc_sdk.training.data.laterality import with_mirrors
from cmc_sdk.training.data.randomness import random_generator

__all__ = ["Shares", "assign_splits", "channel_words", "class_table", "modality_spec", "shared_name", "stem"]

_HU_CLIP = (-175.0, 250.0)  # the window of abdominal soft tissue that the released code trains with


class Shares(StrictModel):
    """How many labelled cases of a layout without splits go where; what is over trains with its labels.

    Args:
        labelled: Cases that keep their labels; the rest, after validation and test, is unlabelled. None for all.
        validation: Cases that choose the checkpoint.
        test: Cases that report.
        seed: Of the draw.
    """

    labelled: int | None = None
    validation: int = 0
    test: int = 0
    seed: int = 0


def assign_splits(cases: Sequence[Case], *, shares: Shares) -> tuple[Case, ...]:
    """Draw which patients of the labelled cases validate, test, and train without their labels.

    Args:
        cases: In any split; only those in `labelled` are dealt out, all cases of a patient together.
        shares: Numbers of patients.

    Raises:
        DataError: Fewer patients than asked for.
    """
    patients = sorted({case.patient for case in cases if case.split == "labelled"})
    rest = len(patients) - shares.validation - shares.test
    labelled = rest if shares.labelled is None else shares.labelled
    if min(labelled, shares.validation, shares.test) < 0 or labelled < 1 or labelled > rest:
        raise DataError(
            f"{len(patients)} labelled patients cannot be dealt out as {shares.validation} for validation, "
            f"{shares.test} for test and {'the rest' if shares.labelled is None else labelled} labelled (at least 1)",
            mend="ask for fewer",
        )
    order = random_generator(shares.seed, step=0, sample=0, purpose="import/splits").permutation(len(patients))
    split_of: dict[str, Split] = {}
    for place, index in enumerate(order):
        if place < shares.validation:
            split: Split = "validation"
        elif place < shares.validation + shares.test:
            split = "test"
        elif place < shares.validation + shares.test + labelled:
            split = "labelled"
        else:
            split = "unlabelled"
        split_of[patients[index]] = split
    dealt = []
    for case in cases:
        split = split_of[case.patient] if case.split == "labelled" else case.split
        labels = {} if split == "unlabelled" else case.labels
        dealt.append(case.model_copy(update={"split": split, "labels": labels}))
    return tuple(dealt)


def class_table(labels: object, *, source: Path) -> ClassTable:
    """A class table from `{"0": "background", "1": "liver"}` or `{"background": 0, "liver": 1}`.

    Left and right classes that both occur become mirrors of each other.

    Raises:
        DataError: Not such a mapping, regions or an ignore label, background not 0, or a gap in the values.
    """
    if not isinstance(labels, Mapping) or not labels:
        raise DataError(f'{source}: "labels" is not a mapping of values and names', mend="add it to the file")
    names: dict[int, str] = {}
    for key, value in labels.items():
        if isinstance(value, list | tuple):
            raise DataError(
                f"{source}: label {key!r} is a region of several values, which a class table cannot hold",
                mend="remap the labels to one value a class",
            )
        number, name = (value, key) if isinstance(value, int) else (key, value)
        if str(name).lower() == "ignore":
            raise DataError(f"{source}: an ignore label is not supported", mend="remap it to background")
        try:
            names[int(number)] = str(name)
        except (TypeError, ValueError) as error:
            raise DataError(f"{source}: label {key!r}: {value!r} has no integer value", mend="correct it") from error
    foreground = sorted(value for value in names if value != 0)
    if foreground != list(range(1, len(foreground) + 1)) or not foreground:
        raise DataError(
            f"{source}: label values {sorted(names)} are not 0 … K-1 without a gap", mend="remap the labels"
        )
    return with_mirrors([names[value] for value in foreground])


def channel_words(channels: Mapping[object, object], *, source: Path) -> list[str]:
    """The words of `{"0": "CT", "1": "MR"}` in the order of their numbers.

    Raises:
        DataError: A channel without a number.
    """
    numbered: list[tuple[int, str]] = []
    for key, word in channels.items():
        try:
            numbered.append((int(str(key)), str(word)))
        except ValueError as error:
            raise DataError(f"{source}: channel {key!r} has no number", mend="number the channels from 0") from error
    return [word for _, word in sorted(numbered, key=lambda item: item[0])]


def modality_spec(word: str) -> ModalitySpec:
    """A modality from another program's word: "CT" gets the HU rule, everything else z-scores."""
    name = re.sub(r"[^a-z0-9_-]+", "_", word.strip().lower()).strip("_") or "image"
    if not name[0].isalpha():
        name = f"m{name}"
    if name == "ct" or name.startswith("ct_"):
        return ModalitySpec(name=name[:32], dicom_modality="CT", intensity=IntensityRule(clip=_HU_CLIP, unit="HU"))
    is_mr = re.match(r"(mr|t1|t2|flair|adc|dwi|pd)", name) is not None
    kind: Literal["MR", "PT", "OT"] = "MR" if is_mr else "PT" if name in {"pet", "pt"} else "OT"
    return ModalitySpec(name=name[:32], dicom_modality=kind)


def stem(path: str) -> str:
    """A file's name without .nii or .nii.gz."""
    return re.sub(r"\.nii(\.gz)?$", "", Path(path).name, flags=re.IGNORECASE)


def shared_name(names: Sequence[str]) -> str:
    """What the names of one case's files begin with, without a dangling separator; the first name if nothing."""
    letters = takewhile(lambda column: len(set(column)) == 1, zip(*names, strict=False))
    return re.sub(r"[^A-Za-z0-9]+$", "", "".join(column[0] for column in letters)) or names[0]
