"""Do the exported graphs label as the network does, and our window as MONAI's: `python -m benchmarks.parity RUN`.

Graphs: every test case through the whole path, on ONNX Runtime and OpenVINO f32 against torch; Dice by class and the
share of foreground voxels that flip, pooled over cases, for all modalities together and each alone.

Window: torch on both sides, on the model grid; our segmenter against MONAI's `sliding_window_inference` with our
separable map as `roi_weight_map`, the same starts and the same padding; share of equal voxels.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from monai.inferers import sliding_window_inference

from cmc_sdk.atomic import atomic_file
from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.bundle.precision import DEFAULT_LIMITS
from cmc_sdk.errors import InputError
from cmc_sdk.export import export_network
from cmc_sdk.export.parity import ParityCase, ParityReport, measure_parity
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.backends.base import DecoderInputs
from cmc_sdk.runtime.backends.catalogue import installed_backends
from cmc_sdk.runtime.core import (
    ModelGrid,
    gaussian_axes,
    intensity_statistics,
    normalise,
    normalised_background,
    sample_window,
)
from cmc_sdk.runtime.planning.planner import plan_windows
from cmc_sdk.runtime.scans.prepared import PreparedScan, prepare_scans
from cmc_sdk.runtime.segmenter import Segmenter
from cmc_sdk.runtime.session import Session
from cmc_sdk.training.data import Case, load_datalist
from cmc_sdk.training.engine import TorchBackend, load_run
from cmc_sdk.training.model import CMCNetwork

MIN_EQUAL, MIN_EQUAL_FOREGROUND = 0.9999, 0.999


@dataclass
class WindowFigures:
    """Voxels of one modality on the model grid, over all cases: how many are equal, and of the foreground."""

    modality: str
    voxels: int = 0
    equal: int = 0
    foreground: int = 0
    equal_foreground: int = 0

    def add(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Count one case."""
        same, foreground = ours == theirs, (ours > 0) | (theirs > 0)
        self.voxels += same.size
        self.equal += int(same.sum())
        self.foreground += int(foreground.sum())
        self.equal_foreground += int((same & foreground).sum())

    @property
    def shares(self) -> tuple[float, float]:
        """Equal voxels of all, and of those that are foreground in either."""
        return self.equal / self.voxels, self.equal_foreground / max(1, self.foreground)

    @property
    def passed(self) -> bool:
        """Whether both limits are kept, on some foreground at all."""
        return self.foreground > 0 and self.shares[0] >= MIN_EQUAL and self.shares[1] >= MIN_EQUAL_FOREGROUND


def load_cases(cases: Sequence[Case], *, spec: ModelSpec) -> list[ParityCase]:
    pairing: Any = "registered" if spec.pairing == "registered" else "auto"
    return [
        ParityCase(
            name=case.case,
            images={name: read_nifti(case.images[name]) for name in spec.names if name in case.images},
            pairing=pairing,
        )
        for case in cases
    ]


def compare_graphs(
    network: CMCNetwork, *, spec: ModelSpec, cases: Sequence[ParityCase], bundle: Path | None
) -> ParityReport:
    with tempfile.TemporaryDirectory() as folder:
        if bundle is None:
            bundle = Path(folder) / "network.cmc"
            export_network(network, spec=spec, output=bundle)
        candidates = {name: Session(bundle, trust="development", backend=name).backend for name in installed_backends()}
        return measure_parity(
            spec, reference=TorchBackend(network), candidates=candidates, cases=cases, limits=DEFAULT_LIMITS["f32"]
        )


def compare_windows(network: CMCNetwork, *, spec: ModelSpec, cases: Sequence[ParityCase]) -> list[WindowFigures]:
    figures = {name: WindowFigures(name) for name in spec.names}
    for case in cases:
        scans = prepare_scans(case.images, spec=spec)
        for group in plan_windows(scans, spec=spec, pairing=case.pairing).groups:
            volumes = {name: on_model_grid(scans[name], grid=group.grid) for name in group.modalities}
            pairing: Any = "registered" if len(group.modalities) > 1 else "separate"
            ours = Segmenter(spec, TorchBackend(network)).infer(volumes, pairing=pairing).labels
            theirs = monai_labels(network, volumes, spec=spec)
            for name in group.modalities:
                figures[name].add(ours[name].stored, theirs[name])
    return [item for item in figures.values() if item.voxels]


def on_model_grid(scan: PreparedScan, *, grid: ModelGrid) -> Volume:
    """The scan resampled to the whole model grid, so that neither side resamples again."""
    array = sample_window(
        scan.volume, affine_mm=grid.affine_mm, size_vox=grid.size_vox, background=scan.statistics.background
    )
    return Volume(array, grid.affine_mm, name=scan.volume.name)


def monai_labels(network: CMCNetwork, volumes: dict[str, Volume], *, spec: ModelSpec) -> dict[str, np.ndarray]:
    """Labels by MONAI's sliding window over all present modalities at once, padded with each one's background."""
    names, window = tuple(volumes), spec.grid.window_vox
    size = next(iter(volumes.values())).size_vox
    before = [max(0, side - count) // 2 for side, count in zip(window, size, strict=True)]
    after = [max(0, side - count) - low for side, count, low in zip(window, size, before, strict=True)]
    channels = []
    for name, volume in volumes.items():
        rule = spec.modality(name).intensity
        statistics = intensity_statistics(volume, rule)
        values = normalise(volume.data, rule=rule, statistics=statistics)
        fill = normalised_background(rule, statistics)
        channels.append(np.pad(values, list(zip(before, after, strict=True)), constant_values=fill))
    x, y, z = (torch.from_numpy(profile) for profile in gaussian_axes(window))
    backend = TorchBackend(network)

    def predict(windows: torch.Tensor) -> torch.Tensor:
        arrays = {name: windows[:, index : index + 1].numpy() for index, name in enumerate(names)}
        encoded = {name: backend.encode(name, array) for name, array in arrays.items()}
        blank = np.zeros_like(next(iter(encoded.values()))["features"])
        features = {name: encoded[name]["features"] if name in encoded else blank for name in spec.names}
        presence = np.array([[float(name in encoded) for name in spec.names]] * len(windows), np.float32)
        logits = [
            backend.decode(name, DecoderInputs(features, presence, encoded[name], arrays[name])) for name in names
        ]
        return torch.from_numpy(np.concatenate(logits, axis=1))

    logits: Any = sliding_window_inference(
        torch.from_numpy(np.stack(channels))[None],
        roi_size=window,
        sw_batch_size=1,
        predictor=predict,
        overlap=spec.grid.overlap,
        mode="constant",
        roi_weight_map=x[:, None, None] * y[:, None] * z,
    )
    inside = tuple(slice(low, low + count) for low, count in zip(before, size, strict=True))
    parts = logits[0].reshape(len(names), spec.classes.num_classes, *logits.shape[2:])
    return {name: parts[index].argmax(0).numpy()[inside] for index, name in enumerate(names)}


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--bundle", type=click.Path(path_type=Path), help="The run's bundle.  [default: exported here]")
@click.option("--datalist", type=click.Path(path_type=Path), help="[default: the run's]")
@click.option("--split", default="test", show_default=True, type=click.Choice(["test", "validation", "labelled"]))
@click.option("--cases", "most", type=click.IntRange(min=1), help="At most so many cases.  [default: all]")
@click.option("--threads", default=2, show_default=True, help="Of torch.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(
    run: Path,
    bundle: Path | None,
    datalist: Path | None,
    split: Any,
    most: int | None,
    threads: int,
    json_path: Path | None,
) -> None:
    """Print both comparisons for the trained network of RUN; exit 1 below a limit."""
    torch.set_num_threads(threads)
    opened = load_run(run)
    chosen = load_datalist(datalist or opened.datalist).split(split)[:most]
    if not chosen:
        raise InputError(f"the data list has no case in its split {split}", mend="choose another with --split")
    cases = load_cases(chosen, spec=opened.spec)
    report = compare_graphs(opened.network, spec=opened.spec, cases=cases, bundle=bundle)
    print(f"{len(cases)} cases of the split {split}: {', '.join(case.name for case in cases)}")
    for row in report.runs:
        known = {name: "–" if value is None else f"{value:.5f}" for name, value in row.agreement.dice.items()}
        dice = ", ".join(f"{name} {value}" for name, value in known.items())
        place = f"torch / {row.backend} f32, {row.modality} of {row.case} with {'+'.join(row.present)}"
        rates = row.agreement.rates
        print(f"{place}: Dice {dice}; flips {rates.flips:.4%} of {rates.foreground_vox:,} voxels")
    for fault in report.faults:
        print(f"below the limit: {fault}")
    windows = compare_windows(opened.network, spec=opened.spec, cases=cases)
    for figures in windows:
        everywhere, foreground = figures.shares
        print(
            f"window / MONAI's, {figures.modality}: {everywhere:.4%} of {figures.voxels:,} voxels equal, "
            f"{foreground:.4%} of {figures.foreground:,} foreground voxels "
            f"(at least {MIN_EQUAL:.2%} and {MIN_EQUAL_FOREGROUND:.1%}): {'kept' if figures.passed else 'NOT KEPT'}"
        )
    passed = bool(report) and report.foreground_vox > 0 and all(figures.passed for figures in windows)
    if json_path is not None:
        document = {
            "benchmark": "parity",
            "cases": [case.name for case in cases],
            "graphs": report.to_dict(),
            "windows": [{**vars(item), "shares": item.shares} for item in windows],
            "passed": passed,
        }
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n")
    print("all limits are kept" if passed else "a limit is NOT KEPT")
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
