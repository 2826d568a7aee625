"""Writing a phantom data list: patients, centres, splits, pairing, and files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from cmc_sdk.atomic import atomic_directory
from cmc_sdk.bundle.manifest import IntensityRule, ModalitySpec
from cmc_sdk.errors import InputError
from cmc_sdk.imaging.nifti import write_volume
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.pairing import CasePairing
from cmc_sdk.progress import Progress
from cmc_sdk.strict_model import StrictModel
from cmc_sdk.training.data.datalist import Case, Datalist, Split, write_datalist
from cmc_sdk.training.data.faults import schema_faults
from cmc_sdk.training.data.laterality import with_mirrors
from cmc_sdk.training.data.phantom.anatomy import ORGANS, TISSUES, Anatomy, draw_anatomy
from cmc_sdk.training.data.phantom.rendering import CENTRES, Centre, render
from cmc_sdk.training.data.randomness import random_generator

__all__ = ["make_phantom"]

Modality = Literal["ct", "mr"]
MODALITIES: tuple[Modality, Modality] = ("ct", "mr")
_FIELD_MM = (320.0, 240.0, 260.0)  # right-left, anterior-posterior, superior-inferior
_CENTRE_MM = (0.0, 0.0, -5.0)


class _PhantomConfig(StrictModel):
    """The arguments of `make_phantom`, checked."""

    seed: int = 0
    labelled: Annotated[int, Field(ge=1)] = 8
    unlabelled: Annotated[int, Field(ge=0)] = 16
    validation: Annotated[int, Field(ge=0)] = 4
    test: Annotated[int, Field(ge=0)] = 8
    pairing: CasePairing = "registered"
    spacing_mm: Annotated[float, Field(ge=1.0, le=20.0)] = 5.0


def make_phantom(
    out_dir: str | os.PathLike[str],
    *,
    seed: int = 0,
    labelled: int = 8,
    unlabelled: int = 16,
    validation: int = 4,
    test: int = 8,
    pairing: CasePairing = "registered",
    spacing_mm: float = 5.0,
    progress: Progress | None = None,
) -> Path:
    """Write a phantom data list with its images and labels, and return the path of its `datalist.yaml`.

    Args:
        out_dir: A folder that does not exist yet; it appears whole or not at all.
        seed: Equal seeds give equal files, byte for byte.
        labelled: Patients with labels to train on, at least 1.
        unlabelled: Patients without.
        validation: Patients to choose a checkpoint by.
        test: Patients to report.
        pairing: `registered`, both modalities on one grid; `misaligned`, in one frame, but the patient has moved
            between them by 5 to 10° and 10 to 25 mm; `unpaired`, every patient has one modality only, by turns.
        spacing_mm: Mean spacing, 1 to 20; centres differ from it by up to 20 %.
        progress: Called with ("phantom", done, total).

    Raises:
        InputError: A number out of range; the folder exists, or its parent does not.
        ResourceError: The disk is full or cannot be written.
    """
    settings = _settings(
        seed=seed, labelled=labelled, unlabelled=unlabelled, validation=validation, test=test, pairing=pairing,
        spacing_mm=spacing_mm,
    )  # fmt: skip
    final = Path(out_dir)
    plan = list(_plan(settings))
    with atomic_directory(final) as folder:
        (folder / "images").mkdir()
        (folder / "labels").mkdir()
        cases = []
        for done, (patient, split) in enumerate(plan):
            cases.append(_write_patient(folder, patient, split, settings))
            if progress is not None:
                progress("phantom", done + 1, len(plan))
        write_datalist(_datalist(settings, cases), folder / "datalist.yaml")
    return final / "datalist.yaml"


def _settings(**values: object) -> _PhantomConfig:
    try:
        return _PhantomConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"phantom: {'; '.join(schema_faults(error, model=_PhantomConfig))}") from error


def _plan(config: _PhantomConfig) -> Iterator[tuple[int, Split]]:
    counts: tuple[tuple[Split, int], ...] = (
        ("labelled", config.labelled),
        ("unlabelled", config.unlabelled),
        ("validation", config.validation),
        ("test", config.test),
    )
    patient = 0
    for split, count in counts:
        for _ in range(count):
            yield patient, split
            patient += 1


def _datalist(config: _PhantomConfig, cases: list[Case]) -> Datalist:
    return Datalist(
        name=f"phantom-{config.pairing}-{config.seed}",
        modalities=(
            ModalitySpec(name="ct", dicom_modality="CT", intensity=IntensityRule(clip=(-175, 300), unit="HU")),
            ModalitySpec(name="mr", dicom_modality="MR"),
        ),
        classes=with_mirrors(ORGANS),
        pairing=config.pairing,
        cases=tuple(cases),
    )


def _write_patient(folder: Path, patient: int, split: Split, config: _PhantomConfig) -> Case:
    rng = random_generator(config.seed, step=patient, sample=0, purpose="phantom/anatomy")
    anatomy = draw_anatomy(rng)
    centre = CENTRES[patient % len(CENTRES)]
    name = f"patient{patient:03d}"
    # By turns over whole rounds of centres, so that no centre has one modality only.
    turn = MODALITIES[(patient + patient // len(CENTRES)) % 2]
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for modality in (turn,) if config.pairing == "unpaired" else MODALITIES:
        image, label = _scan(anatomy, modality=modality, patient=patient, centre=centre, config=config)
        file = f"{name}_{modality}.nii.gz"
        write_volume(image, folder / "images" / file)
        images[modality] = Path("images") / file
        if split != "unlabelled":
            write_volume(label, folder / "labels" / file)
            labels[modality] = Path("labels") / file
    return Case(case=name, patient=name, centre=centre.name, split=split, images=images, labels=labels)


def _scan(
    anatomy: Anatomy, *, modality: Modality, patient: int, centre: Centre, config: _PhantomConfig
) -> tuple[Volume, Volume]:
    rng = random_generator(config.seed, step=patient, sample=0, purpose=f"phantom/{modality}")
    moved = config.pairing == "misaligned" and modality == "mr"
    spacing = np.asarray(centre.spacing_mm) * config.spacing_mm * (1.1 if moved else 1.0)
    affine, size = _grid(centre.orientation, spacing)
    index = np.indices(size, dtype=np.float32).reshape(3, -1)
    points = affine[:3, :3].astype(np.float32) @ index + affine[:3, 3:].astype(np.float32)
    tissue = anatomy.tissue_at(_moved(points, rng) if moved else points).reshape(size)
    image = render(tissue, points_mm=points, modality=modality, centre=centre, rng=rng)
    first = len(TISSUES) - len(ORGANS)
    label = np.where(tissue >= first, tissue - first + 1, 0).astype(np.uint8)
    return Volume(image, affine, name=modality), Volume(label, affine, name="label")


def _grid(
    orientation: str, spacing_mm: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], tuple[int, int, int]]:
    """Affine and size of a grid over the field of view, with voxel axes as in `orientation`."""
    affine, size, first = np.eye(4), [0, 0, 0], np.zeros(3)
    for axis, letter in enumerate(orientation):
        row, sign = ("RAS".index(letter), 1.0) if letter in "RAS" else ("LPI".index(letter), -1.0)
        size[axis] = round(_FIELD_MM[row] / spacing_mm[row])
        affine[:3, axis] = 0.0
        affine[row, axis] = sign * spacing_mm[row]
        first[row] = _CENTRE_MM[row] - sign * spacing_mm[row] * (size[axis] - 1) / 2
    affine[:3, 3] = first
    return affine, (size[0], size[1], size[2])


def _moved(points: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """The points (3, n) after the patient has turned by 5 to 10° about the long axis and slid by 10 to 25 mm."""
    angle = np.deg2rad(rng.uniform(5, 10)) * rng.choice([-1.0, 1.0])
    direction = rng.normal(size=3)
    shift = direction / np.linalg.norm(direction) * rng.uniform(10, 25)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    moved: npt.NDArray[np.float32] = turn.astype(np.float32) @ points + shift.astype(np.float32)[:, None]
    return moved
