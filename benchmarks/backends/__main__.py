"""How much faster is which backend in which precision: `make bench-backends`.

One case of eight windows, one network (preset base, one modality, 14 classes), two cores, one run. Every side is a
process of its own and slides with the same code; what differs is who computes the network. The weights are random: they
take the same time as trained ones, but their labels mean nothing, so the gate's figures come from a trained bundle
(--gate), whose name stands beside them.
"""

from __future__ import annotations

import datetime
import json
import tempfile
from pathlib import Path
from typing import Any

import click

from benchmarks.inference.case import Case, SidePaths
from benchmarks.inference.children import run_child
from cmc_sdk.atomic import atomic_file
from cmc_sdk.runtime.host.processor import processor_name

RESULTS = Path(__file__).parents[1] / "results" / "backends.json"
SETTINGS: dict[str, dict[str, Any]] = {
    "full": {"preset": "base", "window_vox": 128, "size_vox": (340, 340, 108), "spacing_mm": (0.8, 0.8, 2.5)},
    "quick": {"preset": "tiny", "window_vox": 64, "size_vox": (170, 170, 54), "spacing_mm": (0.8, 0.8, 2.5)},
}
SIDES = (
    ("torch", "f32"),
    ("torch", "bf16"),
    ("onnxruntime", "f32"),
    ("openvino", "f32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)
REQUIRED = {"openvino f32": 2.0, "openvino bf16": 4.0, "openvino int8": 5.0}
"""Times faster than torch eager in f32."""


def measure(folder: Path, *, threads: int, cases: int) -> dict[str, Any]:
    """Every side, one after the other."""
    found = {}
    for backend, precision in SIDES:
        name = f"{backend} {precision}"
        words = [str(folder), "--backend", backend, "--precision", precision, "--cases", str(cases)]
        try:
            found[name] = run_child("benchmarks.backends.side", *words, threads=threads)
        except click.ClickException as error:
            found[name] = {"failed": error.message}
            click.echo(f"{name:<18}{error.message}")
            continue
        row = found[name]
        row["times_faster"] = found["torch f32"]["seconds"] / row["seconds"]
        network = sum(row["stages"].get(stage, 0.0) for stage in ("encode", "decode"))
        row["outside_network"] = max(0.0, 1.0 - network / row["seconds"])
        click.echo(
            f"{name:<18}{row['seconds']:>9.2f}{1000 * row['seconds'] / row['windows']:>11.0f}{row['streams']:>9}"
            f"{row['times_faster']:>9.2f}{row['outside_network']:>13.1%}{row['peak_rss_bytes'] / 1e6:>10.0f}"
            f"{row['ready_seconds']:>9.1f}"
        )
    return found


def gate_figures(bundle: Path) -> dict[str, Any]:
    """The gate of a trained bundle: by precision and backend, lowest Dice and largest flips."""
    from cmc_sdk.bundle.reader import open_bundle
    from cmc_sdk.bundle.strict_json import parse_json

    opened = open_bundle(bundle)
    report = parse_json(opened.read("parity.json"), name="parity.json")
    found: dict[str, Any] = {"bundle": f"{opened.manifest.name} {opened.manifest.version}"}
    for precision, part in report.items():
        for backend in part["backends"]:
            runs = [run for run in part["runs"] if run["backend"] == backend]
            known = [value for run in runs for value in run["dice"].values() if value is not None]
            found[f"{backend} {precision}"] = {
                "lowest_dice": min(known, default=None),
                "largest_flips": max(run["flips"] for run in runs),
                "limits": part["limits"],
                "kept_in_f32": part.get("calibration", {}).get("in_f32"),
            }
    return found


@click.command()
@click.option("--quick", is_flag=True, help="A small scan and network, for development; no bar is enforced.")
@click.option("--threads", default=2, show_default=True, help="CPU threads of every side.")
@click.option("--cases", default=2, show_default=True, help="Measured cases of every side; the fastest counts.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep scan and networks here.  [default: temporary]")
@click.option("--prepare", is_flag=True, help="Only write scan and networks to --folder.")
@click.option("--gate", type=click.Path(path_type=Path), help="A trained bundle whose gate's figures stand beside.")
@click.option("--results", is_flag=True, help="Also write benchmarks/results/backends.json.")
def main(
    quick: bool, threads: int, cases: int, folder: Path | None, prepare: bool, gate: Path | None, results: bool
) -> None:
    """Print time and memory of every side; exit 1 below a required ratio."""
    settings = SETTINGS["quick" if quick else "full"]
    case = Case(**settings, threads=threads)
    document: dict[str, Any] = {
        "benchmark": "backends",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "cpu": processor_name(),
        **settings,
        "threads": threads,
        "weights": "random",
        "required": REQUIRED,
    }
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        case.write(place)
        document |= run_child("benchmarks.backends.prepare", str(place), threads=threads)
        if prepare:
            return
        paths = SidePaths(place, case=case)
        click.echo(f"{document['cpu']}, {threads} threads; preset {case.preset}, {'×'.join(map(str, case.size_vox))}")
        head = f"{'':<18}{'s a case':>9}{'ms/window':>11}{'streams':>9}{'faster':>9}{'not network':>13}{'peak MB':>10}"
        click.echo(f"{head}{'ready s':>9}")
        document["sides"] = measure(paths.folder, threads=threads, cases=cases)
    if gate is not None:
        document["gate"] = gate_figures(gate)
    sides = document["sides"]
    document["met"] = {name: sides[name].get("times_faster", 0.0) >= bar for name, bar in REQUIRED.items()}
    for name, bar in REQUIRED.items():
        ratio = sides[name].get("times_faster", 0.0)
        click.echo(f"{name}: {ratio:.2f} times torch eager (required: {bar:g}) {'met' if ratio >= bar else 'MISSED'}")
    click.echo(json.dumps(document))
    if results:
        with atomic_file(RESULTS) as target:
            target.write_text(json.dumps(document, indent=2) + "\n")
    if not quick and not all(document["met"].values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
