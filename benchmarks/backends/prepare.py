"""Child process: the scan, the network for torch, and a bundle of it with f32 and int8 graphs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from benchmarks.inference.case import NUM_CLASSES, Case, SidePaths, case_spec, write_scan

INT8_WINDOWS = 3
"""Enough for the ranges of a network with random weights, whose labels mean nothing."""


def write_bundle_of(case: Case, paths: SidePaths) -> dict[str, float]:
    """Random weights, in every precision that the runtime computes; seconds of the quantisation.

    The gate cannot be run on labels that mean nothing: the bundle lists the default limits and records no pass.
    """
    import torch

    from cmc_sdk.bundle import write_bundle
    from cmc_sdk.bundle.precision import DEFAULT_LIMITS
    from cmc_sdk.export.graphs import export_graphs
    from cmc_sdk.export.int8.edition import calibrated_range
    from cmc_sdk.export.int8.ir import read_onnx, write_ir
    from cmc_sdk.export.int8.quantise import first_layers_of, quantise
    from cmc_sdk.export.parity import ParityCase
    from cmc_sdk.export.precision.calibration_windows import graph_inputs, sample_windows
    from cmc_sdk.imaging.nifti import read_nifti
    from cmc_sdk.training.engine.torch_backend import TorchBackend
    from cmc_sdk.training.model import ModelConfig, build_network, save_network

    torch.set_num_threads(case.threads)
    spec = case_spec(case)
    network = build_network(ModelConfig(preset=case.preset), modalities=("ct",), num_classes=NUM_CLASSES, seed=0).eval()
    save_network(network, paths.network)
    graphs = export_graphs(network)
    scan = ParityCase(name="scan", images={"ct": read_nifti(paths.scan)}, pairing="registered")
    windows = sample_windows([scan], spec=spec, count=INT8_WINDOWS)
    known = calibrated_range([window.images["ct"] for window in windows])
    since, quantised = time.perf_counter(), []
    for graph in graphs:
        inputs = list(graph_inputs(windows, graph=graph.entry, spec=spec, reference=TorchBackend(network)))
        model = read_onnx(graph.content)
        made = quantise(model, inputs=inputs, keep=first_layers_of(model))
        quantised.append(write_ir(made, graph=graph.entry, calibrated=known))
    seconds = time.perf_counter() - since
    fields = {
        "name": f"benchmark-{case.preset}",
        "version": "1",
        "licence": "none",
        "intended_use": "benchmark only: the weights are random",
        "spec": spec,
        "graphs": tuple(graph.entry for graph in (*graphs, *quantised)),
        "gate": {name: DEFAULT_LIMITS[name] for name in ("f32", "bf16", "int8")},
        "provenance": {"weights": "random"},
    }
    files = {name: data for graph in (*graphs, *quantised) for name, data in graph.files.items()}
    write_bundle(paths.bundle, manifest_fields=fields, files=files)
    return {"quantise_seconds": seconds}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    """Fill FOLDER, which holds case.json; print the seconds that int8 took."""
    case = Case.read(folder)
    paths = SidePaths(folder, case=case)
    if not paths.scan.exists():
        write_scan(case, paths.scan)
    figures = {} if paths.bundle.exists() else write_bundle_of(case, paths)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
