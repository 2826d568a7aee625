"""How much faster and leaner is the runtime: `make bench-inference`.

One run, one scan file, one network on both sides (preset base with the short form of attention, one modality, 14
classes, random weights): `cmc infer` on OpenVINO f32 against MONAI's sliding window on torch eager with the logits
resampled back. Then both again with a stand-in for the network that gives outputs of the same shape, so that memory is
compared without it. Each run is a process of its own: its wall time counts from start to exit, imports, loading and
writing included, and its memory is the largest resident set that the system counted. With the network both sides run
twice, by turns, and the faster run of each counts: such machines are not even from one minute to the next.

Beside them, where the processor has it, `cmc infer --precision bf16`: another arithmetic than the peer's, so no bar is
held against it.
"""

from __future__ import annotations

import datetime
import json
import platform
import tempfile
from pathlib import Path
from typing import Any

import click

from benchmarks.inference.case import SETTINGS, Case, SidePaths
from benchmarks.inference.children import run_child, run_module
from cmc_sdk.atomic import atomic_file
from cmc_sdk.runtime.backends.openvino import computes_bf16
from cmc_sdk.runtime.host.processor import processor_name

REQUIRED_TIME_RATIO = 2.0
REQUIRED_MEMORY_RATIO = 3.0
NETWORK_ROUNDS = 2
RESULTS = Path(__file__).parents[1] / "results" / "inference.json"


def run_sides(paths: SidePaths, *, threads: int, stand_in: bool, rounds: int) -> dict[str, Any]:
    """Both sides on the prepared case, by turns, the faster run of each, and how far their labels agree."""
    folder, name = str(paths.folder), "stand-in" if stand_in else "network"
    runs: dict[str, list[dict[str, Any]]] = {"sdk": [], "monai": []}
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        labels = Path(temporary) / "monai.nii.gz"
        for number in range(rounds):
            output = Path(temporary) / f"sdk{number}"
            if stand_in:
                sdk = run_module("sdk_side", folder, "--output", str(output), threads=threads)
            else:
                sdk = _infer(paths, output, precision="f32", threads=threads)
            _add_record(sdk, output)
            runs["sdk"].append(sdk)
            flags = ["--stand-in"] if stand_in else []
            runs["monai"].append(run_module("monai_side", folder, "--output", str(labels), *flags, threads=threads))
        equal = run_module("compare", str(output / "labels_ct.nii.gz"), str(labels), threads=threads)
        figures = {"case": name, **{side: _fastest(found) for side, found in runs.items()}}
        for quantity, key in (("time_ratio", "wall_seconds"), ("memory_ratio", "peak_rss_bytes")):
            figures[quantity] = figures["monai"][key] / figures["sdk"][key]
        figures["equal_labels"] = equal["equal_labels"]
        if not stand_in and computes_bf16():
            other = Path(temporary) / "bf16"
            figures["sdk bf16"] = _infer(paths, other, precision="bf16", threads=threads)
            _add_record(figures["sdk bf16"], other)
            figures["time_ratio_bf16"] = figures["monai"]["wall_seconds"] / figures["sdk bf16"]["wall_seconds"]
    return figures


def _fastest(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run that took least time, with the seconds of all, and the largest peak of any."""
    best = min(runs, key=lambda run: run["wall_seconds"])
    peak = max(run["peak_rss_bytes"] for run in runs)
    return {**best, "peak_rss_bytes": peak, "all_wall_seconds": [run["wall_seconds"] for run in runs]}


def _infer(paths: SidePaths, output: Path, *, precision: str, threads: int) -> dict[str, Any]:
    words = ["infer", str(paths.bundle), "--development", "--image", f"ct={paths.scan}", "-o", str(output)]
    words += ["--backend", "openvino", "--precision", precision, "--threads", str(threads)]
    return run_child("cmc_sdk.cli", *words, threads=threads)


def _add_record(side: dict[str, Any], output: Path) -> None:
    record = json.loads((output / "record.json").read_text())
    side["stages"] = record["seconds"]
    side["network"] = f"{record['backend']} {record['precision']}"
    side["reason"] = record["backend_reason"]
    side["windows"], side["windows_reused"] = record["windows_run"], record["windows_reused"]


def show(title: str, figures: dict[str, Any]) -> None:
    """A small table."""
    click.echo(f"\n{title}")
    click.echo(f"{'':<10}{'wall s':>10}{'peak MB':>10}  seconds by stage")
    for side in (name for name in ("sdk", "monai", "sdk bf16") if name in figures):
        row = figures[side]
        stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in row["stages"].items() if seconds >= 0.05)
        click.echo(f"{side:<10}{row['wall_seconds']:>10.1f}{row['peak_rss_bytes'] / 1e6:>10.0f}  {stages}")
        if len(row.get("all_wall_seconds", ())) > 1:
            click.echo(f"{'':<10}of {', '.join(f'{seconds:.1f}' for seconds in row['all_wall_seconds'])} s")
    click.echo(f"monai / sdk: wall {figures['time_ratio']:.2f}, peak memory {figures['memory_ratio']:.2f}")
    if "sdk bf16" in figures:
        click.echo(f"monai f32 / sdk bf16: wall {figures['time_ratio_bf16']:.2f} (another arithmetic: no bar)")
    click.echo(f"windows: {figures['sdk']['windows']} run, {figures['sdk']['windows_reused']} reused")
    click.echo(f"equal labels: {figures['equal_labels']:.2%} (the sides interpolate the scan differently)")


def judge(document: dict[str, Any]) -> bool:
    """Print each bar and whether it is met."""
    bars = [
        ("network", "time_ratio", "wall time ratio", REQUIRED_TIME_RATIO),
        ("stand_in", "memory_ratio", "peak memory ratio with the stand-in", REQUIRED_MEMORY_RATIO),
    ]
    passed = True
    click.echo("")
    for part, key, words, bar in bars:
        if part in document:
            ratio = document[part][key]
            passed &= ratio >= bar
            click.echo(f"{words}: {ratio:.2f} (required: {bar:g}) {'met' if ratio >= bar else 'MISSED'}")
    return passed


@click.command()
@click.option("--quick", is_flag=True, help="A small scan and network, for development; no bar is enforced.")
@click.option("--skip-base", is_flag=True, help="Only the stand-in: memory without the network.")
@click.option("--threads", default=2, show_default=True, help="CPU threads of either side.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep scan and networks here.  [default: temporary]")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
@click.option("--results", is_flag=True, help="Also write them to benchmarks/results/inference.json.")
def main(
    quick: bool, skip_base: bool, threads: int, folder: Path | None, json_path: Path | None, results: bool
) -> None:
    """Print time and memory of both sides; exit 1 below a required ratio."""
    settings = SETTINGS["quick" if quick else "full"]
    case = Case(**settings, threads=threads)
    document: dict[str, Any] = {
        "benchmark": "inference",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "cpu": processor_name(),
        "system": platform.system(),
        **settings,
        "threads": threads,
        "scan": "generated; texture fills the field of view, no air, so that no window is reused",
        "required": {"time_ratio": REQUIRED_TIME_RATIO, "memory_ratio": REQUIRED_MEMORY_RATIO},
    }
    size = "×".join(map(str, case.size_vox))
    click.echo(f"{document['cpu']}, {threads} threads; {size} voxels at {case.spacing_mm} mm, {document['scan']}")
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        case.write(place)
        run_module("prepare", str(place), "--no-network" if skip_base else "--network", threads=threads)
        paths = SidePaths(place, case=case)
        if not skip_base:
            document["network"] = run_sides(paths, threads=threads, stand_in=False, rounds=NETWORK_ROUNDS)
            show(f"network: preset {case.preset}, window {case.window_vox}", document["network"])
        document["stand_in"] = run_sides(paths, threads=threads, stand_in=True, rounds=1)
        show("stand-in for the network, 14 classes", document["stand_in"])
    document["passed"] = judge(document)
    click.echo(json.dumps(document))
    for path in [*([json_path] if json_path else []), *([RESULTS] if results else [])]:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as target:
            target.write_text(json.dumps(document, indent=2) + "\n")
    if not quick and not document["passed"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
