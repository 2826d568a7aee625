"""`cmc info`: what a bundle is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from cmc_sdk.bundle.manifest import IntensityRule
from cmc_sdk.bundle.reader import Bundle, open_bundle
from cmc_sdk.cli.console import emit_json, json_option, stdout

EPILOG = "Example: cmc info liver.cmc"


@click.command(epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
def command(bundle: Path, as_json: bool) -> None:
    """Say what BUNDLE is: modalities, classes, grid, graphs, what was validated and how exact the export is."""
    document = describe(open_bundle(bundle))
    if as_json:
        emit_json(document)
    else:
        _print(document)


def describe(bundle: Bundle) -> dict[str, Any]:
    """The manifest, the sha256 of its bytes, and the figures of `parity.json` (None without one), for JSON."""
    paths = {entry.path for entry in bundle.manifest.files}
    parity = json.loads(bundle.read("parity.json")) if "parity.json" in paths else None
    return {
        "path": str(bundle.path),
        "manifest_sha256": bundle.manifest_sha256,
        "manifest": bundle.manifest.model_dump(mode="json"),
        "parity": parity,
    }


def print_parity(parity: Mapping[str, Any] | None) -> None:
    """One row per backend, subset and modality: how the written graphs label beside the trained network."""
    if parity is None:
        return
    limits = parity["limits"]
    table = Table(
        title=f"Parity with {parity['reference']} (Dice ≥ {limits['min_dice']:g}, flips ≤ {limits['max_flips']:.1%})",
        title_justify="left",
    )
    for column in ("backend", "present", "modality", "lowest Dice", "flips", "foreground", "cases"):
        table.add_column(column)
    for run in parity["runs"]:
        known = [value for value in run["dice"].values() if value is not None]
        table.add_row(
            run["backend"],
            " + ".join(run["present"]),
            run["modality"],
            f"{min(known):.5f}" if known else "no foreground",
            f"{run['flips']:.3%}",
            f"{run['foreground_vox']} voxels",
            ", ".join(run["cases"]),
        )
    stdout().print(table)


def _print(document: Mapping[str, Any]) -> None:
    manifest, console = document["manifest"], stdout()
    spec, sizes = manifest["spec"], {entry["path"]: entry for entry in manifest["files"]}
    grid = spec["grid"]
    head = Table(show_header=False, box=None)
    for name, value in {
        "name": f"{manifest['name']} {manifest['version']}",
        "licence": manifest["licence"],
        "intended use": manifest["intended_use"],
        "modalities": ", ".join(_modality(item) for item in spec["modalities"]),
        "reference": f"{spec['reference_modality']} (pairs in training: {spec['pairing']})",
        "classes": ", ".join(f"{item['index']} {item['name']}" for item in spec["classes"]["classes"]),
        "grid": f"{_times(grid['spacing_mm'])} mm, window {_times(grid['window_vox'])} voxels, "
        f"overlap {grid['overlap']:.0%}",
        "trained": _provenance(manifest["provenance"]),
        "manifest": f"sha256 {document['manifest_sha256']}",
    }.items():
        head.add_row(name, value)
    console.print(head)
    graphs = Table(title="Graphs", title_justify="left")
    for column in ("file", "precision", "opset", "inputs → outputs", "size", "sha256"):
        graphs.add_column(column, overflow="fold")
    for graph in manifest["graphs"]:
        entry = sizes[graph["path"]]
        ports = [", ".join(tensor["name"] for tensor in graph[side]) for side in ("inputs", "outputs")]
        graphs.add_row(
            graph["path"],
            graph["precision"],
            str(graph["opset"]),
            " → ".join(ports),
            f"{entry['size'] / 1e6:.2f} MB",
            entry["sha256"][:12],
        )
    console.print(graphs)
    _print_validation(manifest["validated_subsets"])
    print_parity(document["parity"])


def _print_validation(subsets: list[dict[str, Any]]) -> None:
    if not subsets:
        stdout().print("Validated subsets: none is recorded")
        return
    table = Table(title="Validated subsets of modalities (mean Dice)", title_justify="left")
    for column in ("present", "cases", "mean", "by class"):
        table.add_column(column)
    for subset in subsets:
        by_class = "; ".join(
            f"{modality}: " + ", ".join(f"{name} {_figure(dice)}" for name, dice in classes.items())
            for modality, classes in subset["dice"].items()
        )
        table.add_row(" + ".join(subset["present"]), str(subset["cases"]), _figure(subset["mean_dice"]), by_class)
    stdout().print(table)


def _modality(item: Mapping[str, Any]) -> str:
    rule = IntensityRule.model_validate(item["intensity"])
    unit = "HU" if rule.unit == "HU" else "arbitrary units"
    clip = f"clip {rule.clip[0]:g} … {rule.clip[1]:g} {unit}" if rule.clip else f"{unit}, no clip"
    return f"{item['name']} ({item['dicom_modality']}; {clip}; {rule.scale})"


def _provenance(provenance: Mapping[str, Any]) -> str:
    words = [f"{key} {provenance[key]}" for key in ("method", "seed") if provenance.get(key) is not None]
    if provenance.get("datalist_sha256"):
        words.append(f"data list sha256 {provenance['datalist_sha256'][:12]}")
    return ", ".join([*words, str(provenance.get("code", ""))])


def _times(values: list[float]) -> str:
    return " × ".join(f"{value:g}" for value in values)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
