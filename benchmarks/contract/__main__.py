"""`make bench-contract`: planned bytes beside measured peaks on 12 settings, and 50 random limits, refused or kept."""

from __future__ import annotations

import datetime
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.contract.slow import SlowStandIn, slow_spec
from benchmarks.core.path import make_scan
from benchmarks.inference.case import SETTINGS, Case, SidePaths
from benchmarks.inference.children import run_child, run_module
from cmc_sdk.atomic import atomic_file
from cmc_sdk.errors import DeadlineError, PlanError
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.host.memory import PeakWatch
from cmc_sdk.runtime.host.processor import processor_name
from cmc_sdk.runtime.planning.limits import Limits
from cmc_sdk.runtime.segmenter import Segmenter

RESULTS = Path(__file__).parents[1] / "results" / "contract.json"
MOST = 1.15
SIZES = ((256, 256, 120), (384, 384, 100), (512, 512, 150))
TRIALS = 50


def planned_beside_measured(bundle: Path) -> list[dict[str, Any]]:
    """Twelve settings: stand-in and OpenVINO, three sizes, one and two threads."""
    rows = []
    click.echo(
        f"{'network':<10}{'size':>14}{'threads':>9}{'planned MB':>12}{'peak MB':>9}{'ratio':>8}{'s':>8}{'plan s':>8}"
    )
    for network in ("stand-in", "openvino"):
        for size in SIZES:
            for threads in (1, 2):
                words = ["--size", *map(str, size), "--threads", str(threads)]
                words += ["--bundle", str(bundle)] if network == "openvino" else []
                found = run_child("benchmarks.contract.run", *words, threads=threads)
                ratio = found["planned_bytes"] / found["peak_bytes"]
                rows.append({"network": network, "size": size, "threads": threads, "ratio": ratio, **found})
                planned, peak = found["planned_bytes"] / 1e6, found["peak_bytes"] / 1e6
                click.echo(
                    f"{network:<10}{'×'.join(map(str, size)):>14}{threads:>9}{planned:>12.0f}{peak:>9.0f}{ratio:>8.3f}"
                    f"{found['seconds']:>8.2f}{found['planned_seconds']:>8.2f}"
                )
    return rows


def random_limits() -> dict[str, Any]:
    """Runs under random limits in one process: each is refused, done within them, or ended at a window."""
    spec, backend = slow_spec(), SlowStandIn()
    scan = {"ct": Volume(make_scan((160, 160, 140)), np.diag([0.8, 0.8, 1.0, 1.0]))}
    free = Limits(max_mem_bytes=10**12)
    Segmenter(spec, backend, threads=1, limits=free).infer(scan)
    # After a first run, which leaves the process larger: the draws below are to fall on both sides of what is needed.
    plan = Segmenter(spec, backend, threads=1, limits=free).plan(scan)
    p99 = float(np.percentile(backend.seconds, 99))
    generator = random.Random(0)
    outcomes: dict[str, int] = {"refused": 0, "done": 0, "ended": 0}
    broken: list[dict[str, float]] = []
    for _ in range(TRIALS):
        deadline = plan.seconds * generator.uniform(0.4, 1.8)
        memory = int((plan.total_bytes or 0) * generator.uniform(0.8, 1.3))
        session = Segmenter(spec, backend, threads=1, limits=Limits(memory, deadline))
        backend.pace = 1.0
        try:
            session.plan(scan)
        except PlanError:
            outcomes["refused"] += 1
            continue
        backend.pace = generator.choice([1.0, 1.0, 1.6])  # a machine that turns slower after it was measured
        with PeakWatch() as watch:
            since = time.monotonic()
            try:
                session.infer(scan)
                outcome = "done"
            except DeadlineError:
                outcome = "ended"
            taken = time.monotonic() - since
        outcomes[outcome] += 1
        late = taken - deadline - p99 * backend.pace
        over = (watch.peak_bytes or 0) - memory
        if late > 0 or over > 0:
            broken.append({"deadline_s": deadline, "taken_s": taken, "max_mem": memory, "peak": watch.peak_bytes or 0})
    click.echo(f"\n{TRIALS} random limits: {outcomes}; broken: {len(broken)}; one window's p99 {p99 * 1e3:.0f} ms")
    for item in broken:
        click.echo(f"  {item}")
    return {"outcomes": outcomes, "broken": broken, "window_p99_s": p99}


@click.command()
@click.option("--results", is_flag=True, help="Also write benchmarks/results/contract.json.")
def main(results: bool) -> None:
    """Print both tables; exit 1 where a plan was not kept."""
    document: dict[str, Any] = {
        "benchmark": "contract",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "cpu": processor_name(),
        "required": {"planned / peak": [1.0, MOST], "broken": 0},
    }
    case = Case(**SETTINGS["quick"], threads=2)
    with tempfile.TemporaryDirectory() as temporary:
        case.write(Path(temporary))
        run_module("prepare", temporary, "--network", threads=2)
        document["memory"] = planned_beside_measured(SidePaths(Path(temporary), case=case).bundle)
    document["limits"] = random_limits()
    ratios = [row["ratio"] for row in document["memory"]]
    document["met"] = {
        f"planned / peak within 1 and {MOST}": min(ratios) >= 1.0 and max(ratios) <= MOST,
        "no limit broken": not document["limits"]["broken"],
    }
    click.echo(f"\nplanned / peak: {min(ratios):.3f} to {max(ratios):.3f}")
    click.echo(json.dumps(document["met"]))
    if results:
        with atomic_file(RESULTS) as target:
            target.write_text(json.dumps(document, indent=2) + "\n")
    if not all(document["met"].values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
