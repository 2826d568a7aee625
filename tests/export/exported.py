"""The small network that the export's tests share, and scans for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cmc_sdk import Volume
from cmc_sdk.bundle.manifest import Grid, IntensityRule, ModalitySpec, ModelSpec, SeenRange, SubsetScore
from cmc_sdk.export import export_network
from cmc_sdk.export.parity import ParityCase
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.training.model import CMCNetwork, ModelConfig, build_network


@dataclass(frozen=True)
class Exported:
    network: CMCNetwork
    spec: ModelSpec
    bundle: Path
    case: ParityCase


def make_spec(names: tuple[str, ...] = ("ct", "mr"), *, window: int = 16) -> ModelSpec:
    known = {"ct": ModalitySpec(name="ct", dicom_modality="CT", intensity=IntensityRule(clip=(-200, 300), unit="HU"))}
    return ModelSpec(
        modalities=tuple(known.get(name, ModalitySpec(name=name, dicom_modality="MR")) for name in names),
        reference_modality=names[0],
        classes=ClassTable.from_names(["liver", "spleen"]),
        grid=Grid(spacing_mm=(2, 2, 2), window_vox=(window, window, window), overlap=0.25),
    )


def make_network(names: tuple[str, ...] = ("ct", "mr"), *, window: int = 16, width: int = 4) -> CMCNetwork:
    """Random weights of some size, γ and τ away from their start, so that MIA and fusion matter."""
    network = build_network(
        ModelConfig(backbone="unet3d", width=width, window_vox=window), modalities=names, num_classes=3, seed=5
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def make_case(names: tuple[str, ...] = ("ct", "mr"), *, seed: int = 3) -> ParityCase:
    rng = np.random.default_rng(seed)
    affine = np.array([[-2.2, 0, 0, 20], [0, 2.0, 0, -30], [0, 0, 2.5, 5], [0, 0, 0, 1]])
    images = {}
    for name in names:
        scan = np.full((14, 16, 14), -1000 if name == "ct" else 0, np.int16)
        scan[2:-2, 2:-2, 2:-2] = rng.integers(-150, 250, (10, 12, 10))
        images[name] = Volume(scan, affine, name=name)
    return ParityCase(name="patient", images=images, pairing="registered")


def export_small(folder: Path) -> Exported:
    """The export in `folder`, made if it is not there yet."""
    network, spec, case = make_network(), make_spec(), make_case()
    bundle = folder / "small.cmc"
    if bundle.exists():
        return Exported(network, spec, bundle, case)
    export_network(
        network,
        spec=spec,
        output=bundle,
        version="2",
        licence="Apache-2.0",
        intended_use="tests",
        cases=[case],
        validated_subsets=[SubsetScore(present=("ct", "mr"), dice={"ct": {"liver": 0.9}}, mean_dice=0.9, cases=4)],
        seen={"ct": SeenRange(intensity=(-100.0, 100.0))},
        provenance={"method": "cmc", "seed": 3, "datalist_sha256": "ab" * 32},
    )
    return Exported(network, spec, bundle, case)
