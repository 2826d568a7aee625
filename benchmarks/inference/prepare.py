"""Child process: write the scan, the network for torch and the bundle, once for both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks.inference.case import NUM_CLASSES, Case, SidePaths, case_spec, write_scan


def write_networks(case: Case, paths: SidePaths) -> None:
    """The same random weights twice: as a torch network and as graphs in a bundle."""
    import torch

    from cmc_sdk.bundle import write_bundle
    from cmc_sdk.bundle.precision import DEFAULT_LIMITS
    from cmc_sdk.export.graphs import export_graphs
    from cmc_sdk.training.model import ModelConfig, build_network, save_network

    torch.set_num_threads(case.threads)
    preset: Any = case.preset
    network = build_network(ModelConfig(preset=preset), modalities=("ct",), num_classes=NUM_CLASSES, seed=0).eval()
    save_network(network, paths.network)
    graphs = export_graphs(network)
    fields = {
        "name": f"benchmark-{case.preset}",
        "version": "1",
        "licence": "none",
        "intended_use": "benchmark only: the weights are random",
        "spec": case_spec(case),
        "graphs": tuple(graph.entry for graph in graphs),
        "gate": {name: DEFAULT_LIMITS[name] for name in ("f32", "bf16")},
        "provenance": {"weights": "random"},
    }
    write_bundle(paths.bundle, manifest_fields=fields, files={graph.entry.path: graph.content for graph in graphs})


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--network/--no-network", default=True)
def main(folder: Path, network: bool) -> None:
    """Fill FOLDER, which holds case.json."""
    case = Case.read(folder)
    paths = SidePaths(folder, case=case)
    if not paths.scan.exists():
        write_scan(case, paths.scan)
    if network and not paths.bundle.exists():
        write_networks(case, paths)


if __name__ == "__main__":
    main()
