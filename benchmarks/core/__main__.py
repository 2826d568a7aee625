"""What the native core costs beside the usual ways: `make bench-core`.

Every measurement is a process of its own. Labelling: logits on a 1.5×1.5×2 mm grid to labels on 512×512×400 voxels of
0.8×0.8×1 mm, 14 classes, against scipy, nnU-Net's way and torch; a way that needs too much memory at 400 slices is
measured at 200, and so is the core beside it. Path: statistics, sampling, blending, labelling, components and hash of
one scan, straight and oblique. Memory: what a run holds beside the scan as stored, its labels and their confidence, at
200, 400 and 800 slices: of one body in ever thinner slices, and of an ever longer scan.
"""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import click

from benchmarks.inference.children import run_child
from cmc_sdk.atomic import atomic_file
from cmc_sdk.runtime.host.processor import processor_name

RESULTS = Path(__file__).parents[1] / "results" / "core.json"
REQUIRED_RATIO = 5.0
REQUIRED_NS = 40.0
FLAT = 0.05
"""Share by which memory may differ over the sizes of one series that is to be flat."""
SERIES: dict[str, tuple[tuple[tuple[int, int, int], float], ...]] = {
    "240 mm in thinner slices": (((512, 512, 200), 1.2), ((512, 512, 400), 0.6), ((512, 512, 800), 0.3)),
    "slices of 1 mm, z longest": (((256, 256, 400), 1.0), ((256, 256, 800), 1.0), ((256, 256, 1600), 1.0)),
    # Not flat by nature: the ring lies along the longest axis, so that a short scan takes less; once z is the longest
    # it takes what it takes at any length.
    "slices of 1 mm, z outgrows x": (((512, 512, 200), 1.0), ((512, 512, 400), 1.0), ((512, 512, 800), 1.0)),
}
"""Sizes in voxels, and slice spacing in mm; the first two series are to be flat."""
PEERS = ("scipy", "nnunet", "torch")
PEAK_PER_SLICE = {"scipy": 9e6, "nnunet": 20e6, "torch": 9e6}
"""Bytes a slice that a way was seen to need, to leave out what cannot fit."""


def labelling(way: str, *, slices: int, threads: int) -> dict[str, Any]:
    """Seconds and peak of one way."""
    words = (way, "--slices", str(slices), "--threads", str(threads))
    return run_child("benchmarks.core.labelling", *words, threads=threads)


def path(size: tuple[int, int, int], *, threads: int, oblique: bool = False, slice_mm: float = 1.0) -> dict[str, Any]:
    """Seconds by stage, and bytes, of one scan's way."""
    words = ["--size", *map(str, size), "--threads", str(threads), "--slice-mm", str(slice_mm)]
    words += ["--oblique"] if oblique else []
    return run_child("benchmarks.core.path", *words, threads=threads)


def compare(slices: int, *, threads: int, repeats: int) -> dict[str, Any]:
    """All ways, the best of `repeats`, in turn so that a noisy moment hits all of them."""
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    ways = ["cmc", *(way for way in PEERS if PEAK_PER_SLICE[way] * slices + 3e9 < available)]
    found: dict[str, Any] = {}
    for _ in range(repeats):
        for way in ways:
            figures = labelling(way, slices=slices, threads=threads)
            if way not in found or figures["seconds"] < found[way]["seconds"]:
                found[way] = figures
    click.echo(f"\nlabelling, {slices} slices{'':>6}{'s':>8}{'ns/voxel':>10}{'peak MB':>10}{'/ core':>8}")
    for way, figures in found.items():
        ratio = figures["seconds"] / found["cmc"]["seconds"]
        click.echo(
            f"  {way:<24}{figures['seconds']:>8.2f}{figures['ns_per_voxel']:>10.1f}{figures['peak'] / 1e6:>10.0f}"
            f"{ratio:>8.1f}"
        )
    fastest = min(figures["seconds"] for way, figures in found.items() if way != "cmc")
    return {"slices": slices, "ways": found, "ratio": fastest / found["cmc"]["seconds"]}


def peers(ours: int, *, threads: int, slices: int = 200) -> list[dict[str, Any]]:
    """What the usual ways hold at the smallest size, which fits all of them."""
    rows = []
    for name, words in (("MONAI dense", ()), ("MONAI buffered", ("--buffered",))):
        found = run_child(
            "benchmarks.core.monai_memory", "--slices", str(slices), "--threads", str(threads), *words, threads=threads
        )
        rows.append({"way": name, "slices": slices, "bytes": found["beside_scan_and_labels"]})
    rows.append(
        {"way": "nnU-Net", "slices": slices, "bytes": labelling("nnunet", slices=slices, threads=threads)["peak"]}
    )
    for row in rows:
        click.echo(f"  512×512×{slices} {row['way']:<19}{row['bytes'] / 1e6:>9.0f}{row['bytes'] / ours:>10.1f} times")
    return rows


@click.command()
@click.option("--threads", default=2, show_default=True)
@click.option("--repeats", default=2, show_default=True, help="Best of so many.")
@click.option("--quick", is_flag=True, help="Fewer slices, for development; no bar is enforced.")
@click.option("--results", is_flag=True, help="Also write benchmarks/results/core.json.")
def main(threads: int, repeats: int, quick: bool, results: bool) -> None:
    """Print ratios, nanoseconds and bytes; exit 1 below what is required."""
    slices = 50 if quick else 400
    document: dict[str, Any] = {
        "benchmark": "core",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "cpu": processor_name(),
        "threads": threads,
        "required": {"ratio": REQUIRED_RATIO, "ns_per_voxel": REQUIRED_NS, "flat": FLAT},
    }
    click.echo(f"{document['cpu']}, {threads} threads")
    document["labelling"] = [compare(slices // 2, threads=threads, repeats=repeats)]
    document["labelling"].append(compare(slices, threads=threads, repeats=repeats))
    click.echo(f"\npath, 512×512×{slices}{'':>8}{'s':>8}{'ns/voxel':>10}  stages")
    document["path"] = {}
    for name in ("straight", "oblique"):
        runs = [path((512, 512, slices), oblique=name == "oblique", threads=threads) for _ in range(repeats)]
        figures = document["path"][name] = min(runs, key=lambda run: run["seconds"])
        stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in figures["stages"].items())
        click.echo(f"  {name:<22}{figures['seconds']:>8.2f}{figures['ns_per_voxel']:>10.1f}  {stages}")
    click.echo(f"\nmemory beside scan and labels{'':>6}{'MB':>8}{'predicted':>11}")
    document["memory"] = {}
    for name, sizes in SERIES.items():
        click.echo(f" {name}")
        rows = document["memory"][name] = []
        for size, slice_mm in sizes[:1] if quick else sizes:
            figures = path(size, threads=threads, slice_mm=slice_mm)
            row = {"size": size, "bytes": figures["beside_scan_and_labels"], "predicted": figures["predicted"]}
            rows.append(row)
            words = f"{'×'.join(map(str, size))} at {slice_mm} mm"
            click.echo(f"  {words:<32}{row['bytes'] / 1e6:>9.0f}{row['predicted'] / 1e6:>11.0f}")
    document["peers"] = peers(document["memory"]["slices of 1 mm, z outgrows x"][0]["bytes"], threads=threads)
    document["met"] = judge(document)
    click.echo(json.dumps(document["met"]))
    if results:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(RESULTS) as target:
            target.write_text(json.dumps(document, indent=2) + "\n")
    if not quick and not all(document["met"].values()):
        raise SystemExit(1)


def judge(document: dict[str, Any]) -> dict[str, bool]:
    """Which of the required figures are met."""
    met = {
        "labelling ratio": all(item["ratio"] >= REQUIRED_RATIO for item in document["labelling"]),
        **{
            f"{name} ns per voxel": figures["ns_per_voxel"] <= REQUIRED_NS for name, figures in document["path"].items()
        },
    }
    for name in list(SERIES)[:2]:
        row = [item["bytes"] for item in document["memory"][name]]
        met[f"memory is flat: {name}"] = max(row) <= min(row) * (1 + FLAT)
    return met


if __name__ == "__main__":
    main()
