"""Small volumes with known answers, and data lists made of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cmc_sdk.bundle.manifest import Grid, ModelSpec
from cmc_sdk.imaging.nifti import write_volume
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.training.data.config import DataConfig, IntensityAugmentation, SpatialAugmentation
from cmc_sdk.training.data.datalist import Datalist, load_datalist

PLAIN_SPACE = SpatialAugmentation(rotate_probability=0.0, scale_probability=0.0, flip_probability=0.0)
PLAIN_INTENSITY = IntensityAugmentation(probability=0.0, bias_probability=0.0)

ORIENTATIONS = [
    "".join(letters) for order in itertools.permutations(("RL", "AP", "SI")) for letters in itertools.product(*order)
]
"""All 48 ways in which voxel axes can run through the patient."""


def oriented_affine(
    orientation: str,
    *,
    spacing: Sequence[float],
    size: Sequence[int],
    centre: Sequence[float] = (0.0, 0.0, 0.0),
    tilt_degrees: float = 0.0,
) -> np.ndarray:
    """Affine of a grid of `size` whose axes run as `orientation` says, turned about S, with its middle at `centre`."""
    affine = np.eye(4)
    affine[:3, :3] = 0.0
    for axis, letter in enumerate(orientation):
        row = "RASLPI".index(letter) % 3
        affine[row, axis] = spacing[axis] if letter in "RAS" else -spacing[axis]
    angle = np.deg2rad(tilt_degrees)
    turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    affine[:3, :3] = np.array(turn) @ affine[:3, :3]
    affine[:3, 3] = np.asarray(centre) - affine[:3, :3] @ ((np.asarray(size) - 1) / 2)
    return affine


def positions(affine: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """RAS mm of every voxel, (X, Y, Z, 3)."""
    index = np.stack(np.meshgrid(*[np.arange(item) for item in size], indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def config(**changes: Any) -> DataConfig:
    """Data settings without augmentation."""
    base = {"datalist": "unused", "spacing_mm": (4.0, 4.0, 4.0), "spatial": PLAIN_SPACE, "intensity": PLAIN_INTENSITY}
    return DataConfig(**{**base, **changes})


def spec_of(datalist: Datalist, *, window: int = 12, spacing: float = 4.0) -> ModelSpec:
    """A model spec with a cubic window."""
    return datalist.model_spec(grid=Grid(spacing_mm=(spacing,) * 3, window_vox=(window,) * 3))


def write_case(
    folder: Path, name: str, *, image: np.ndarray, label: np.ndarray | None, affine: np.ndarray
) -> dict[str, str]:
    """Write an image and perhaps a label; return their file names by kind."""
    files = {"image": f"{name}.nii.gz"}
    write_volume(Volume(image, affine), folder / files["image"])
    if label is not None:
        files["label"] = f"{name}_label.nii.gz"
        write_volume(Volume(label, affine), folder / files["label"])
    return files


def write_list(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write a data list as YAML."""
    path = folder / "datalist.yaml"
    path.write_text(yaml.safe_dump(dict(document), sort_keys=False))
    return path


def ramp_study(
    folder: Path,
    *,
    orientations: Mapping[str, str],
    pairing: str = "registered",
    centres: Mapping[str, Sequence[float]] | None = None,
    classes: Sequence[Any] = ("a", "b"),
    tilts: Mapping[str, float] | None = None,
) -> Datalist:
    """Two labelled cases and one unlabelled, whose images hold 1000 + 1·x + 2·y + 3·z (mm).

    So a window tells where it lies. The label is 1 where x < 0 and 2 where x ≥ 0, inside a box of 20 mm about the
    middle. All modalities have their own spacing and orientation.
    """
    cases = []
    for number, split in enumerate(("labelled", "labelled", "unlabelled")):
        images, labels = {}, {}
        for place, (modality, orientation) in enumerate(orientations.items()):
            size = (24 + place, 22, 20 + place)
            centre = (centres or {}).get(modality, (0.0, 0.0, 0.0))
            spacing = (4.0 + 0.25 * place, 4.0, 4.5 - 0.25 * place)
            affine = oriented_affine(
                orientation, spacing=spacing, size=size, centre=centre, tilt_degrees=(tilts or {}).get(modality, 0.0)
            )
            where = positions(affine, size)
            image = (1000 + where @ np.array([1.0, 2.0, 3.0])).astype(np.float32)
            inside = (np.abs(where - np.asarray(centre)) < 20).all(axis=-1)
            label = np.where(inside, np.where(where[..., 0] < centre[0], 1, 2), 0).astype(np.uint8)
            files = write_case(folder, f"c{number}_{modality}", image=image, label=label, affine=affine)
            images[modality] = files["image"]
            labels[modality] = files["label"]
        case = {"case": f"c{number}", "patient": f"p{number}", "split": split, "images": images}
        cases.append({**case, "labels": labels} if split == "labelled" else case)
    document = {
        "name": "ramps",
        "modalities": [{"name": name} for name in orientations],
        "classes": list(classes),
        "pairing": pairing,
        "cases": cases,
    }
    return load_datalist(write_list(folder, document))
