"""Child process: a signed bundle of a preset with random weights, its trust store, and scans of one window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

NAMES = ("ct", "mr")


@click.command()
@click.argument("preset")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--threads", default=2)
def main(preset: Any, folder: Path, threads: int) -> None:
    """Fill FOLDER with PRESET.cmc, trust.json, ct.nii.gz and mr.nii.gz."""
    import torch

    from cmc_sdk.bundle import write_bundle
    from cmc_sdk.bundle.keys import make_keys
    from cmc_sdk.bundle.manifest import Grid, IntensityRule, ModalitySpec, ModelSpec
    from cmc_sdk.bundle.precision import DEFAULT_LIMITS
    from cmc_sdk.bundle.signing import sign_bundle
    from cmc_sdk.bundle.trust import TrustStore
    from cmc_sdk.bundle.trust_edit import add_key, write_trust_store
    from cmc_sdk.export.graphs import export_graphs
    from cmc_sdk.imaging.classes import ClassTable
    from cmc_sdk.imaging.nifti import write_volume
    from cmc_sdk.imaging.volume import Volume
    from cmc_sdk.training.model import ModelConfig, build_network
    from cmc_sdk.training.model.config import PRESETS

    torch.set_num_threads(threads)
    window = PRESETS[preset].window_vox
    spacing = 5.0 if preset == "tiny" else 1.5
    network = build_network(ModelConfig(preset=preset), modalities=NAMES, num_classes=6, seed=0).eval()
    graphs = export_graphs(network)
    spec = ModelSpec(
        modalities=(
            ModalitySpec(name="ct", dicom_modality="CT", intensity=IntensityRule(clip=(-175, 300), unit="HU")),
            ModalitySpec(name="mr", dicom_modality="MR"),
        ),
        reference_modality="ct",
        classes=ClassTable.from_names([f"organ_{index}" for index in range(1, 6)]),
        grid=Grid(spacing_mm=(spacing,) * 3, window_vox=(window,) * 3, overlap=0.25),
    )
    fields = {
        "name": f"cold-start-{preset}", "version": "1", "licence": "none",
        "intended_use": "benchmark only: the weights are random", "spec": spec,
        "graphs": tuple(graph.entry for graph in graphs), "gate": {"f32": DEFAULT_LIMITS["f32"]}, "provenance": {},
    }  # fmt: skip
    bundle = folder / f"{preset}.cmc"
    write_bundle(bundle, manifest_fields=fields, files={graph.entry.path: graph.content for graph in graphs})
    key = make_keys(folder / "benchmark.key", passphrase="nobody's secret")
    sign_bundle(bundle, key=key)
    write_trust_store(add_key(TrustStore(), key.public), folder / "trust.json")
    generator = np.random.default_rng(0)
    for name in NAMES:
        voxels = generator.integers(-150, 250, (window,) * 3).astype(np.int16)
        affine = np.diag([-spacing, -spacing, spacing, 1.0])
        write_volume(Volume(voxels, affine, name=name), folder / f"{name}.nii.gz")


if __name__ == "__main__":
    main()
