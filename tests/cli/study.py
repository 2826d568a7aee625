"""A study of a few small cases, and the smallest training that runs on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from cmc_sdk import Volume, write_volume
from tests.cli.command import AFFINE, make_spec

SIZE = (20, 18, 12)


def make_label(seed: int) -> np.ndarray:
    label = np.zeros(SIZE, np.uint8)
    label[4 + seed % 3 : 9 + seed % 3, 5:10, 3:8] = 1
    label[12:15, 11:14, 4:7] = 2
    return label


def write_case(folder: Path, name: str, *, seed: int) -> None:
    label = make_label(seed)
    rng = np.random.default_rng(seed)
    for modality, means in (("ct", (-900, 60, 120)), ("mr", (5, 300, 150))):
        image = (np.array(means)[label] + rng.normal(0, 5, SIZE)).astype(np.int16)
        write_volume(Volume(image, AFFINE), folder / f"{name}_{modality}.nii.gz")
        write_volume(Volume(label, AFFINE), folder / f"{name}_{modality}_label.nii.gz")


def make_study(folder: Path, *, splits: tuple[str, ...] = ("labelled", "unlabelled", "validation", "test")) -> Path:
    """Write one case per split and the data list, and return its path."""
    folder.mkdir()
    cases = []
    for seed, split in enumerate(splits):
        name = f"{split}{seed}"
        write_case(folder, name, seed=seed)
        case = {"case": name, "patient": f"P{seed}", "centre": "A", "split": split}
        case["images"] = {modality: f"{name}_{modality}.nii.gz" for modality in ("ct", "mr")}
        if split != "unlabelled":
            case["labels"] = {modality: f"{name}_{modality}_label.nii.gz" for modality in ("ct", "mr")}
        cases.append(case)
    spec = make_spec()
    document = {
        "name": "toy",
        "modalities": [item.model_dump(mode="json") for item in spec.modalities],
        "classes": list(spec.classes.names),
        "pairing": "registered",
        "cases": cases,
    }
    path = folder / "datalist.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def training_config(folder: Path, datalist: Path) -> Path:
    """A configuration of two steps of a network of a few hundred weights."""
    document = {
        "name": "toy",
        "output": str(folder / "run"),
        "model": {"backbone": "unet3d", "width": 4, "window_vox": 16},
        "data": {"datalist": str(datalist), "spacing_mm": [3, 3, 3], "labelled_batch": 1, "unlabelled_batch": 1},
        "stages": {"fused": 1, "semi": 1},
        "optimiser": {"warmup_steps": 1},
        "validation": {"every": 2},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
