"""`cmc evaluate`: measure a run or a bundle on labelled cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from cmc_sdk.cli.options.run_or_bundle import open_segmenter
from cmc_sdk.cli.options.trust_options import chosen_trust, trust_options
from cmc_sdk.cli.terminal.console import emit_json, json_option, progress_bar, stdout
from cmc_sdk.cli.terminal.tables import text_table
from cmc_sdk.errors import InputError
from cmc_sdk.pairing import ScanPairing

if TYPE_CHECKING:
    from cmc_sdk.training.evaluation import Summary

EPILOG = """\b
Examples:
  cmc evaluate liver.cmc phantom/datalist.yaml --trust trust.json --baseline --csv rows.csv
  cmc evaluate runs/liver phantom/datalist.yaml --split validation --present ct+mr --present mr
"""


@click.command(epilog=EPILOG)
@click.argument("segmenter", metavar="RUN|BUNDLE", type=click.Path(path_type=Path))
@click.argument("datalist", type=click.Path(path_type=Path))
@click.option("--split", type=click.Choice(["labelled", "validation", "test"]), default="test", show_default=True)
@click.option(
    "--present",
    multiple=True,
    metavar="CT+MR",
    help="Which modalities are given, joined with +; may be repeated. all: together and each alone.  [default: all, "
    "where the cases have them]",
)
@click.option(
    "--pairing",
    type=click.Choice(get_args(ScanPairing)),
    help="As in cmc infer.  [default: as the data list says]",
)
@click.option("--tolerance", type=click.FloatRange(min=0), default=2.0, show_default=True, help="Of NSD, in mm.")
@click.option("--baseline", is_flag=True, help="Also the nearest-class-mean rule, fitted on the labelled split.")
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), help="Write one row per case, organ and modality.")
@trust_options
@json_option
def command(
    segmenter: Path,
    datalist: Path,
    split: Literal["labelled", "validation", "test"],
    present: tuple[str, ...],
    pairing: ScanPairing | None,
    tolerance: float,
    baseline: bool,
    csv_path: Path | None,
    trust: Path | None,
    development: bool,
    as_json: bool,
) -> None:
    """Dice, ASD, HD95, NSD and false-positive volume of a training run or a bundle, per case, organ and modality.

    An organ that the reference lacks counts as unknown, one that was missed as Dice 0 and the image's diagonal.
    """
    from cmc_sdk.training.data import load_datalist
    from cmc_sdk.training.evaluation import evaluate_baseline, evaluate_cases, parse_subsets, summarise, write_csv
    from cmc_sdk.training.evaluation.table import as_records

    if csv_path is not None and not csv_path.absolute().parent.is_dir():
        raise InputError(f"--csv {csv_path}: its folder does not exist", mend=f"create {csv_path.parent} first")
    cases = load_datalist(datalist)
    opened, method, seed = open_segmenter(segmenter, trust=chosen_trust(trust, development=development))
    subsets = None if present in ((), ("all",)) else parse_subsets(present, modalities=opened.spec.names)
    with progress_bar(quiet=as_json) as progress:
        rows = evaluate_cases(
            opened,
            cases,
            split=split,
            subsets=subsets,
            method=method,
            seed=seed,
            pairing=pairing,
            tolerance_mm=tolerance,
            progress=progress,
        )
        if baseline:
            rows += evaluate_baseline(cases, split=split, tolerance_mm=tolerance, progress=progress)
    if csv_path is not None:
        write_csv(rows, csv_path)
    summaries = summarise(rows)
    if as_json:
        emit_json({"rows": as_records(rows), "summary": as_records(summaries)})
        return
    out = stdout()
    out.print(summary_table(summaries), markup=False)
    if csv_path is not None:
        out.print(f"{len(rows)} rows: {csv_path}", markup=False)


def summary_table(summaries: Sequence[Summary]) -> str:
    """One line per method, presence, modality and organ."""
    head = ["method", "given", "modality", "organ", "cases", "Dice", "95 % interval", "ASD mm", "HD95 mm", "NSD"]
    rows = [
        [
            entry.method,
            entry.presence,
            entry.modality,
            entry.organ,
            str(entry.cases),
            _number(entry.dice, 3),
            f"{_number(entry.dice_low, 3)} – {_number(entry.dice_high, 3)}",
            _number(entry.asd_mm, 2),
            _number(entry.hd95_mm, 1),
            _number(entry.nsd, 3),
            _number(entry.false_positive_ml, 1),
            str(entry.missed),
        ]
        for entry in summaries
    ]
    return text_table([*head, "false ml", "missed"], rows=rows, text_columns=4)


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
