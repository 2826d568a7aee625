"""`cmc bench`: time a bundle on this machine, backend by backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cmc_sdk.cli.options.backend_options import PRECISIONS, BackendType
from cmc_sdk.cli.options.trust_options import chosen_trust, trust_options
from cmc_sdk.cli.terminal.console import emit_json, json_option, progress_bar, stdout
from cmc_sdk.cli.terminal.tables import text_table
from cmc_sdk.errors import InputError

if TYPE_CHECKING:
    from cmc_sdk.bundle.precision import Precision
    from cmc_sdk.runtime.benchmark import BenchReport

EPILOG = """\b
Examples:
  cmc bench liver.cmc --trust trust.json
  cmc bench liver.cmc --trust trust.json --backend openvino --precision f32 --precision int8 --runs 20 --html bench.html
"""


@click.command(epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=BackendType(),
    help="Only this one; may be given twice.  [default: every one that works here]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="Only this one; may be given twice.  [default: every one that the bundle holds]",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(min=1), help="Measured cases.")
@click.option("--warm-up", default=1, show_default=True, type=click.IntRange(min=1), help="Cases before those.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write a page with pictures here.")
@trust_options
@json_option
def command(
    bundle: Path,
    backends: tuple[str, ...],
    precisions: tuple[Precision, ...],
    threads: int | None,
    runs: int,
    warm_up: int,
    html: Path | None,
    trust: Path | None,
    development: bool,
    as_json: bool,
) -> None:
    """Label a synthetic scan with BUNDLE again and again, each backend and precision in a process of its own.

    Shown are percentiles a case and a window, throughput, the share that is not the network, peak memory, and the
    start of a process by its parts. Nothing leaves this machine.
    """
    from cmc_sdk.atomic import atomic_file
    from cmc_sdk.runtime.benchmark import bench_bundle
    from cmc_sdk.runtime.benchmark.page import bench_page

    if html is not None and (html.exists() or not html.absolute().parent.is_dir()):
        what = "exists already" if html.exists() else "is in a folder that does not exist"
        raise InputError(f"{html} {what}", mend="give --html the path of a new file")
    with progress_bar(quiet=as_json) as progress:
        report = bench_bundle(
            bundle,
            trust=chosen_trust(trust, development=development),
            backends=backends or None,
            precisions=precisions or None,
            threads=threads,
            warm_up=warm_up,
            runs=runs,
            progress=progress,
        )
    if html is not None:
        with atomic_file(html) as target:
            target.write_text(bench_page(report), encoding="utf-8")
    if as_json:
        emit_json(report.to_dict())
        return
    _print(report)
    if html is not None:
        stdout().print(f"page: {html}", markup=False)


def _print(report: BenchReport) -> None:
    out = stdout()
    size = " × ".join(map(str, report.size_vox))
    out.print(
        f"{report.bundle}: {' + '.join(report.modalities)}, {size} voxels, {report.runs[0].windows} windows a case, "
        f"{report.runs[0].case.count} cases after a warm-up",
        markup=False,
    )
    out.print(f"{report.machine['processor']}, {report.machine['cores']} cores", markup=False)
    faster = report.relative()
    rows = [
        [
            run.name,
            *(_ms(value) for value in (run.case.p50_s, run.case.p90_s, run.case.p99_s)),
            *(_ms(value) for value in (run.window.p50_s, run.window.p90_s, run.window.p99_s)),
            f"{run.windows_per_s:.2f}",
            str(run.streams),
            f"{run.outside_network:.1%}",
            "unknown" if run.peak_rss_bytes is None else f"{run.peak_rss_bytes / 1e6:,.0f}",
            f"{faster[run.name]:.2f}",
        ]
        for run in report.runs
    ]
    head = ["ms", "case p50", "p90", "p99", "window p50", "p90", "p99", "windows/s", "streams", "not network"]
    out.print("\n" + text_table([*head, "peak MB", "times faster"], rows=rows), markup=False)
    starts = [
        [
            run.name,
            *(f"{value:.2f}" for value in (run.cold.import_s, run.cold.hash_s, run.cold.compile_s)),
            *(f"{value:.2f}" for value in (run.cold.first_window_s, run.cold.total_s)),
        ]
        for run in report.runs
    ]
    parts = ["start of a process, s", "imports", "read, hash", "compile", "first window", "total"]
    out.print("\n" + text_table(parts, rows=starts), markup=False)
    for name, fault in report.failed.items():
        out.print(f"{name} could not be measured: {fault}", markup=False)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}"
