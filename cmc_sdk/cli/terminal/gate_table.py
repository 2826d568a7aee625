"""The figures of the gate as a table: one row per precision, backend and kind of scan, from the JSON of the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cmc_sdk.cli.terminal.console import stdout
from cmc_sdk.cli.terminal.tables import text_table
from cmc_sdk.errors import BundleError

__all__ = ["gate_rows", "gate_table", "print_parity"]

_KINDS = {"real": "real scans", "golden": "golden scans", "stress": "stress scans"}


def gate_table(reports: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """A table of several reports, each with what to call its precision."""
    head = [
        "precision",
        "backend",
        "scans",
        "",
        "runs",
        "lowest Dice",
        "flips",
        "farthest mm",
        "foreground",
        "undecided",
    ]
    rows = [row for precision, report in reports for row in gate_rows(precision, report)]
    return text_table(head, rows=rows, text_columns=4)


def gate_rows(precision: str, report: Mapping[str, Any]) -> list[list[str]]:
    """Rows of one report; a backend whose values are not finite has a row without figures.

    Args:
        precision: What to call it.
        report: `ParityReport.to_dict()`.
    """
    rows = []
    for backend in report["backends"]:
        mine = [run for run in report["runs"] if run["backend"] == backend]
        for kind, words in _KINDS.items():
            runs = [run for run in mine if run["kind"] == kind]
            if runs:
                rows.append([precision, backend, words, *_figures(runs)])
        broken = sum(item["values"] for item in report["not_finite"] if item["backend"] == backend)
        if broken:
            rows.append([precision, backend, f"{broken} values not finite", "failed", *[""] * 6])
    return rows


def _figures(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    dice = [value for run in runs for value in run["dice"].values() if value is not None]
    flips, foreground = (sum(run[name] for run in runs) for name in ("flips_vox", "foreground_vox"))
    # A flip without a distance lies in a class that the reference lacks.
    far = [run["farthest_mm"] for run in runs if run["flips_vox"]]
    return [
        "failed" if any(run["faults"] for run in runs) else "passed",
        str(len(runs)),
        f"{min(dice):.5f}" if dice else "no foreground",
        f"{flips / foreground:.4%}" if foreground else "–",
        "–" if not far else "no surface" if None in far else f"{max(far):.1f}",
        f"{foreground:,}",
        f"{sum(run['undecided_vox'] for run in runs):,}",
    ]


def print_parity(parity: Mapping[str, Any] | None) -> None:
    """One row per precision, backend and kind of scan: how the bundle labels beside its reference."""
    if parity is None:
        return
    try:
        words = ", ".join(
            f"{precision} beside {report['reference']}: Dice ≥ {report['limits']['min_dice']:g}, "
            f"flips ≤ {report['limits']['max_flips']:.2%}"
            for precision, report in parity.items()
        )
        stdout().print(f"\nGate ({words})\n{gate_table(parity.items())}", markup=False)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError("parity.json is not what `cmc export` writes", mend="export the bundle again") from error
