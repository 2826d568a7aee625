"""`cmc bench`: time a bundle on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from cmc_sdk.cli.console import emit_json, json_option, progress_bar, stdout
from cmc_sdk.cli.tables import text_table
from cmc_sdk.cli.trusting import chosen_trust, trust_options

EPILOG = "Example: cmc bench liver.cmc --trust trust.json --backend openvino --runs 20"


@click.command(epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--backend", default="auto", show_default=True, type=click.Choice(["auto", "openvino", "onnxruntime"]))
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the backend.  [default: its own choice]")
@click.option(
    "--runs", default=5, show_default=True, type=click.IntRange(min=1), help="Measured cases after a warm-up."
)
@trust_options
@json_option
def command(
    bundle: Path,
    backend: Literal["auto", "openvino", "onnxruntime"],
    threads: int | None,
    runs: int,
    trust: Path | None,
    development: bool,
    as_json: bool,
) -> None:
    """Label a synthetic scan with BUNDLE several times: percentiles, memory, and the share that is not the network."""
    from cmc_sdk.runtime.bench import bench_bundle

    with progress_bar(quiet=as_json) as progress:
        report = bench_bundle(
            bundle,
            trust=chosen_trust(trust, development=development),
            backend=backend,
            threads=threads,
            runs=runs,
            progress=progress,
        )
    if as_json:
        emit_json(report.to_dict())
        return
    out = stdout()
    out.print(
        f"{report.bundle} on {report.backend} {report.precision}: {' + '.join(report.modalities)}, "
        f"{' × '.join(map(str, report.size_vox))} voxels, {report.windows} windows a case",
        markup=False,
    )
    times = {"case": report.case, "window, network only": report.window, **report.graphs}
    rows = [
        [name, *(f"{1000 * value:.1f}" for value in (item.p50, item.p90, item.p99)), str(item.count)]
        for name, item in times.items()
    ]
    out.print(text_table(["milliseconds", "p50", "p90", "p99", "measured"], rows=rows), markup=False)
    peak = "unknown" if report.peak_rss_bytes is None else f"{report.peak_rss_bytes / 1e6:.0f} MB"
    out.print(f"outside the network {report.outside_network:.1%}, peak memory {peak}")
    out.print(f"first scan, loading and compiling included, {report.first_s:.2f} s")
