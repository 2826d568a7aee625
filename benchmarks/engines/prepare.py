"""A bundle of any size with random weights, in f32 and in fp16 with every delicate part kept in FP32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

MODALITIES = ("ct", "mr")
NUM_CLASSES = 14


def write_bundle_of(preset: str, path: Path, *, modalities: tuple[str, ...] = MODALITIES, fp16: bool = True) -> Path:
    """Export a network and write its graphs, without golden cases and without the gate."""
    import torch

    from cmc_sdk.bundle import write_bundle
    from cmc_sdk.bundle.manifest import Grid, ModalitySpec, ModelSpec
    from cmc_sdk.bundle.precision import DEFAULT_LIMITS
    from cmc_sdk.export.graphs import export_graphs
    from cmc_sdk.imaging.classes import ClassTable
    from cmc_sdk.training.model import ModelConfig, build_network

    torch.set_num_threads(2)
    name: Any = preset
    config = ModelConfig(preset=name)
    network = build_network(config, modalities=modalities, num_classes=NUM_CLASSES, seed=0).eval()
    graphs = export_graphs(network)
    if fp16:
        graphs = [*graphs, *(_halved(graph) for graph in graphs)]
    fields = {
        "name": f"benchmark-{preset}",
        "version": "1",
        "licence": "none",
        "intended_use": "benchmark only: the weights are random",
        "spec": ModelSpec(
            modalities=tuple(ModalitySpec(name=name) for name in modalities),
            reference_modality=modalities[0],
            classes=ClassTable.from_names([f"class {index}" for index in range(1, NUM_CLASSES)]),
            grid=Grid(spacing_mm=(2, 2, 2), window_vox=(config.window,) * 3),
        ),
        "graphs": tuple(graph.entry for graph in graphs),
        "gate": {key: DEFAULT_LIMITS[key] for key in ("f32", "fp16")},
        "provenance": {"weights": "random"},
    }
    write_bundle(path, manifest_fields=fields, files={graph.entry.path: graph.content for graph in graphs})
    return path


def _halved(graph: Any) -> Any:
    """The graph in fp16; calibration, which the weights are too random for, would give back some of the islands."""
    import onnx

    from cmc_sdk.bundle.precision import Island
    from cmc_sdk.export.graphs import ExportedGraph
    from cmc_sdk.export.precision.islands import find_candidates
    from cmc_sdk.export.precision.mixed import to_mixed
    from cmc_sdk.export.precision.view import GraphView, hoist_constants

    model = onnx.load_from_string(graph.content)
    path = graph.entry.path.replace("/f32/", "/fp16/")
    hoist_constants(model)
    candidates = find_candidates(GraphView(model, name=path))
    islands = tuple(
        Island(kind=item.kind, nodes=tuple(sorted(item.nodes)), reason="kept without calibration", difference=None)
        for item in candidates
    )
    nodes = {node for island in islands for node in island.nodes}
    mixed = to_mixed(model, islands=nodes, name=path).model
    entry = graph.entry.model_copy(update={"path": path, "precision": "fp16", "islands": islands})
    return ExportedGraph(entry=entry, content=mixed.SerializeToString(deterministic=True))


@click.command()
@click.argument("preset")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--modality", "modalities", multiple=True, default=MODALITIES, show_default=True)
def main(preset: str, path: Path, modalities: tuple[str, ...]) -> None:
    """Write the bundle of PRESET at PATH."""
    write_bundle_of(preset, path, modalities=modalities)


if __name__ == "__main__":
    main()
