"""`make bench-cold-start`: `cmc infer` from the start of its process to the first window, by part; medians of runs."""

from __future__ import annotations

import datetime
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from benchmarks.inference.children import run_child
from cmc_sdk.atomic import atomic_file
from cmc_sdk.runtime.host.processor import processor_name
from cmc_sdk.threads import usable_threads

RESULTS = Path(__file__).parents[1] / "results" / "cold_start.json"
MOST_SECONDS = {"tiny": 1.5}
PARTS = (
    "interpreter", "import", "manifest and signature", "scan", "read and hash", "compile", "first window", "rest",
)  # fmt: skip


def start_once(preset: str, folder: Path, *, threads: int) -> dict[str, Any]:
    """One process, from its start to the first window."""
    output, figures = folder / "out", folder / "figures.json"
    shutil.rmtree(output, ignore_errors=True)
    words = ["infer", str(folder / f"{preset}.cmc"), "--trust", str(folder / "trust.json"), "-o", str(output)]
    words += ["--image", f"ct={folder / 'ct.nii.gz'}", "--image", f"mr={folder / 'mr.nii.gz'}"]
    words += ["--pairing", "registered", "--backend", "openvino", "--threads", str(threads)]
    command = [sys.executable, "-m", "benchmarks.cold_start.child", repr(time.monotonic()), str(figures), *words]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise click.ClickException(f"{' '.join(command)} ended with exit code {done.returncode}")
    found: dict[str, Any] = json.loads(figures.read_text())
    return found


def measure(preset: str, *, runs: int, threads: int, kept: Path | None) -> dict[str, Any]:
    """Medians of `runs` starts after one that fills the system's file cache."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) if kept is None else kept / preset
        if not folder.is_dir() or kept is None:
            folder.mkdir(parents=True, exist_ok=True)
            run_child("benchmarks.cold_start.prepare", preset, str(folder), "--threads", str(threads), threads=threads)
        size = sum(path.stat().st_size for path in (folder / f"{preset}.cmc").rglob("*") if path.is_file())
        found = [start_once(preset, folder, threads=threads) for _ in range(runs + 1)][1:]
    totals = sorted(item["total"] for item in found)
    return {
        "preset": preset,
        "bundle_bytes": size,
        "runs": runs,
        "seconds": statistics.median(totals),
        "least": totals[0],
        "most": totals[-1],
        "parts": {part: statistics.median(item["parts"].get(part, 0.0) for item in found) for part in PARTS},
        "to_the_end": statistics.median(item["end"] for item in found),
        "training_packages": sorted({name for item in found for name in item["training_packages"]}),
    }


@click.command()
@click.option("--preset", "presets", multiple=True, default=("tiny", "base"), show_default=True)
@click.option("--runs", default=7, show_default=True, type=click.IntRange(min=1))
@click.option("--threads", default=2, show_default=True, type=click.IntRange(min=1))
@click.option("--keep", type=click.Path(path_type=Path), help="A folder for the bundles, to use them again.")
@click.option("--save/--no-save", default=True, help="Write benchmarks/results/cold_start.json.")
def main(presets: tuple[str, ...], runs: int, threads: int, keep: Path | None, save: bool) -> None:
    """Both modalities, OpenVINO f32, a signed bundle; files are in the system's cache, as after an installation."""
    rows = [measure(preset, runs=runs, threads=threads, kept=keep) for preset in presets]
    click.echo(f"{'seconds':<24}" + "".join(f"{row['preset']:>10}" for row in rows))
    for part in PARTS:
        click.echo(f"{part:<24}" + "".join(f"{row['parts'][part]:>10.3f}" for row in rows))
    for name in ("seconds", "least", "most", "to_the_end"):
        click.echo(
            f"{'all, median' if name == 'seconds' else name:<24}" + "".join(f"{row[name]:>10.3f}" for row in rows)
        )
    if save:
        document = {
            "benchmark": "cold_start",
            "date": datetime.date.today().isoformat(),
            "cpu": processor_name(),
            "system": platform.system(),
            "cores": usable_threads(),
            "threads": threads,
            "backend": "openvino f32",
            "required_seconds": MOST_SECONDS,
            "presets": rows,
        }
        with atomic_file(RESULTS) as target:
            target.write_text(json.dumps(document, indent=2) + "\n")
    for row in rows:
        if row["training_packages"]:
            raise click.ClickException(f"{row['preset']}: imported {', '.join(row['training_packages'])}")
        if row["seconds"] > MOST_SECONDS.get(row["preset"], float("inf")):
            raise click.ClickException(f"{row['preset']}: {row['seconds']:.2f} s to the first window")


if __name__ == "__main__":
    main()
