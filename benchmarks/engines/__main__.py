"""What building engines ahead of time takes: `make bench-engines`.

Every graph of a bundle of preset `tiny` and of one of preset `base` (ct and mr, 14 classes, random weights), in f32 and
in fp16 with all delicate parts in FP32, is parsed and built by TensorRT-RTX for SM 80, 86, 89 and 120 in one build, and
for SM 75 apart, without a GPU. Seconds are those of the build's own process, start included; memory is that
process's largest resident set. Nothing is executed.
"""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from cmc_sdk.atomic import atomic_file
from cmc_sdk.runtime.backends.tensorrt.engines import BuildReport, build_engines
from cmc_sdk.runtime.host.processor import processor_name

TARGETS = ("sm80", "sm86", "sm89", "sm120", "sm75")
RESULTS = Path(__file__).parents[1] / "results" / "engines.json"


def rows_of(report: BuildReport) -> list[dict[str, Any]]:
    """One for each engine: its figures, or why it was refused."""
    rows = []
    for item in report.builds:
        row: dict[str, Any] = {"graph": item.graph, "target": item.key.targets}
        if item.record is None:
            row["refused"] = str(item.fault)
        else:
            fields = ("seconds", "peak_bytes", "size", "half_layers", "float_layers")
            row |= {name: getattr(item.record, name) for name in fields}
        rows.append(row)
    return rows


def show(preset: str, rows: list[dict[str, Any]]) -> None:
    """A small table."""
    click.echo(f"\n{preset:<32}{'target':<26}{'seconds':>8}{'peak MB':>9}{'MB':>8}{'FP16':>6}{'FP32':>6} layers")
    for row in rows:
        head = f"{row['graph']:<32}{row['target']:<26}"
        if "refused" in row:
            click.echo(f"{head} refused: {row['refused'][:120]}")
        else:
            click.echo(
                f"{head}{row['seconds']:>8.1f}{row['peak_bytes'] / 1e6:>9.0f}{row['size'] / 1e6:>8.1f}"
                f"{row['half_layers']:>6}{row['float_layers']:>6}"
            )


@click.command()
@click.option("--preset", "presets", multiple=True, default=("tiny", "base"), show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Keep bundles here.  [default: temporary]")
@click.option("--results", is_flag=True, help="Also write the figures to benchmarks/results/engines.json.")
def main(presets: tuple[str, ...], folder: Path | None, results: bool) -> None:
    """Build everything and print what it took; exit 1 if more was refused than FP32 on SM 75."""
    document: dict[str, Any] = {
        "benchmark": "engines",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "cpu": processor_name(),
        "system": platform.system(),
        "gpu": "none: engines are built, not executed",
    }
    unexpected: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        for preset in presets:
            bundle = place / f"{preset}.cmc"
            if not bundle.exists():
                # In a process of its own: the network's memory is not the builder's.
                subprocess.run([sys.executable, "-m", "benchmarks.engines.prepare", preset, str(bundle)], check=True)
            with tempfile.TemporaryDirectory(dir=place) as state:
                report = build_engines(bundle, state=Path(state) / "state", trust="development", targets=TARGETS)
            document["flavour"] = f"{report.builds[0].key.flavour} {report.builds[0].key.version}"
            document[preset] = rows_of(report)
            show(preset, document[preset])
            unexpected += [
                f"{row['graph']} for {row['target']}"
                for row in document[preset]
                if "refused" in row and (row["target"] != "sm75" or "is not supported" not in row["refused"])
            ]
    document["unexpected_refusals"] = unexpected
    click.echo(json.dumps(document))
    if results:
        with atomic_file(RESULTS) as target:
            target.write_text(json.dumps(document, indent=2) + "\n")
    if unexpected:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
