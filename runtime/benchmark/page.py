"""The benchmark as one page: bars of a case and of its parts, the start, and the table under them."""

from __future__ import annotations

from cmc_sdk.pages.charts import bar_chart
from cmc_sdk.pages.shell import escape, facts, page, table
from cmc_sdk.runtime.benchmark.figures import BenchReport, BenchRun

__all__ = ["bench_page"]

_COLD = (("import_s", "imports"), ("hash_s", "read and hash"), ("compile_s", "compile"), ("first_window_s", "window"))


def bench_page(report: BenchReport) -> str:
    """A self-contained HTML page."""
    size = " × ".join(map(str, report.size_vox))
    scan = f"{' + '.join(report.modalities)}, {size} voxels, {report.runs[0].windows} windows a case"
    body = [
        f"<h1>{escape(report.bundle)}</h1>",
        f'<p class="dim">{escape(scan)}; a synthetic scan, measured {escape(report.time_utc)}</p>',
        f"<section><h2>One case</h2>{_stages(report)}{_note(report)}</section>",
        f"<section><h2>From the start of a process to its first window</h2>{_cold(report)}</section>",
        f"<section><h2>Figures</h2>{_figures(report)}</section>",
        f"<section><h2>Machine</h2>{facts(report.machine.items())}</section>",
    ]
    return page(f"{report.bundle}: time and memory", body="\n".join(body))


def _stages(report: BenchReport) -> str:
    """The network and all else, in seconds of a case. Where windows run in streams both work at once."""
    rows = []
    for run in report.runs:
        network = run.case.p50_s * (1.0 - run.outside_network)
        parts = {"network": network, "all else": run.case.p50_s - network}
        rows.append((run.name, parts, f"{run.case.p50_s:.2f} s"))
    return bar_chart(rows, parts=("network", "all else"))


def _cold(report: BenchReport) -> str:
    rows = []
    for run in report.runs:
        parts = {label: float(getattr(run.cold, key)) for key, label in _COLD}
        rows.append((run.name, parts, f"{run.cold.total_s:.2f} s"))
    return bar_chart(rows, parts=tuple(label for _, label in _COLD))


def _note(report: BenchReport) -> str:
    lines = [f"<li>{escape(name)}: not measured; {escape(fault)}</li>" for name, fault in report.failed.items()]
    return f"<ul>{''.join(lines)}</ul>" if lines else ""


def _figures(report: BenchReport) -> str:
    head = ["", "case p50", "p90", "p99", "window p50", "p90", "p99", "windows/s", "not network", "peak MB", "start"]
    return table(head, rows=[_row(run) for run in report.runs])


def _row(run: BenchRun) -> list[str]:
    times = (run.case.p50_s, run.case.p90_s, run.case.p99_s, run.window.p50_s, run.window.p90_s, run.window.p99_s)
    peak = "unknown" if run.peak_rss_bytes is None else f"{run.peak_rss_bytes / 1e6:,.0f}"
    return [
        escape(run.name),
        *(f"{1000 * value:,.0f} ms" for value in times),
        f"{run.windows_per_s:.2f}",
        f"{run.outside_network:.1%}",
        peak,
        f"{run.cold.total_s:.2f} s",
    ]
