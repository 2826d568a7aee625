"""`cmc info`: what a bundle is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cmc_sdk.bundle.manifest import IntensityRule
from cmc_sdk.bundle.reader import open_bundle
from cmc_sdk.bundle.series_rule import SeriesRule
from cmc_sdk.bundle.trust import require_trust
from cmc_sdk.cli.options.trust_options import chosen_trust, trust_options
from cmc_sdk.cli.terminal.bundle_document import describe
from cmc_sdk.cli.terminal.console import emit_json, json_option, stdout
from cmc_sdk.cli.terminal.gate_table import print_parity
from cmc_sdk.cli.terminal.tables import text_table

EPILOG = "Example: cmc info liver.cmc --trust trust.json"


@click.command(epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@trust_options
@json_option
def command(bundle: Path, trust: Path | None, development: bool, as_json: bool) -> None:
    """Say what BUNDLE is: modalities, classes, grid, graphs, what was validated and how exact the export is."""
    policy = require_trust(chosen_trust(trust, development=development))
    document = describe(open_bundle(bundle, policy=policy))
    if as_json:
        emit_json(document)
    else:
        _print(document)


def _show(title: str, table: str) -> None:
    stdout().print(f"\n{title}\n{table}", markup=False)


def _print(document: Mapping[str, Any]) -> None:
    manifest, console = document["manifest"], stdout()
    spec, sizes = manifest["spec"], {entry["path"]: entry for entry in manifest["files"]}
    grid = spec["grid"]
    facts = {
        "name": f"{manifest['name']} {manifest['version']}",
        "licence": manifest["licence"],
        "intended use": manifest["intended_use"],
        "modalities": "\n".join(_modality(item) for item in spec["modalities"]),
        "reference": f"{spec['reference_modality']} (pairs in training: {spec['pairing']})",
        "classes": ", ".join(f"{item['index']} {item['name']}" for item in spec["classes"]["classes"]),
        "grid": f"{_times(grid['spacing_mm'])} mm, window {_times(grid['window_vox'])} voxels, "
        f"overlap {grid['overlap']:.0%}",
        "trained": _provenance(manifest["provenance"]),
        "manifest": f"sha256 {document['manifest_sha256']}",
        "signed by": _signer(document),
    }
    for name, value in facts.items():
        first, *others = value.split("\n")
        console.print(f"{name:<13} {first}", *(f"\n{'':<13} {line}" for line in others), sep="", markup=False)
    rows = []
    for graph in manifest["graphs"]:
        entry = sizes[graph["path"]]
        ports = [", ".join(tensor["name"] for tensor in graph[side]) for side in ("inputs", "outputs")]
        size = f"{entry['size'] / 1e6:,.2f}"
        rows.append(
            [graph["path"], " → ".join(ports), entry["sha256"][:12], graph["precision"], str(graph["opset"]), size]
        )
    head = ["file", "inputs → outputs", "sha256", "precision", "opset", "MB"]
    _show("Graphs", text_table(head, rows=rows, text_columns=3))
    _print_validation(manifest["validated_subsets"])
    print_parity(document["parity"])


def _print_validation(subsets: list[dict[str, Any]]) -> None:
    if not subsets:
        stdout().print("\nValidated subsets of modalities: none is recorded")
        return
    rows = [
        [
            "+".join(subset["present"]),
            "; ".join(
                f"{modality}: " + ", ".join(f"{name} {_figure(dice)}" for name, dice in classes.items())
                for modality, classes in subset["dice"].items()
            ),
            str(subset["cases"]),
            _figure(subset["mean_dice"]),
        ]
        for subset in subsets
    ]
    _show(
        "Validated subsets of modalities",
        text_table(["present", "Dice by class", "cases", "mean Dice"], rows=rows, text_columns=2),
    )


def _modality(item: Mapping[str, Any]) -> str:
    rule = IntensityRule.model_validate(item["intensity"])
    unit = "HU" if rule.unit == "HU" else "arbitrary units"
    clip = f"clip {rule.clip[0]:g} … {rule.clip[1]:g} {unit}" if rule.clip else f"{unit}, no clip"
    series = f"; series: {_series(item['series'])}" if item.get("series") else ""
    return f"{item['name']} ({item['dicom_modality']}; {clip}; {rule.scale}{series})"


def _series(rule: Mapping[str, Any]) -> str:
    """The conditions that a rule states, in its own words: "words t2*, without localizer"."""
    stated = SeriesRule.model_validate(rule).model_dump(exclude_defaults=True)
    words = []
    for key, value in stated.items():
        shown = value if isinstance(value, (str, int)) else " ".join(map(str, value))
        words.append(f"{key} {shown}")
    return ", ".join(words) or "any"


def _provenance(provenance: Mapping[str, Any]) -> str:
    words = [f"{key} {provenance[key]}" for key in ("method", "seed") if provenance.get(key) is not None]
    if provenance.get("datalist_sha256"):
        words.append(f"data list sha256 {provenance['datalist_sha256'][:12]}")
    words += [f"{key} {value}" for key, value in provenance.get("exported_with", {}).items()]
    return ", ".join(words)


def _signer(document: Mapping[str, Any]) -> str:
    if document["trust"] == document["key_id"]:
        return f"key {document['key_id']}, which is trusted"
    return str(document["trust"])


def _times(values: list[float]) -> str:
    return " × ".join(f"{value:g}" for value in values)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
