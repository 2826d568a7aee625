"""The page that `cmc demo` ends with: the table, one test patient beside the truth, and where everything lies."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from cmc_sdk.atomic import atomic_file
from cmc_sdk.cli.demo.compared import CONTROL, METHOD, RULE
from cmc_sdk.cli.terminal.tables import text_table
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.pages.shell import SWITCHES, escape, page, table
from cmc_sdk.runtime.output.report.page import class_legend, plane_figures
from cmc_sdk.runtime.output.report.planes import cut_planes

if TYPE_CHECKING:
    from cmc_sdk.training.data import Case
    from cmc_sdk.training.evaluation import Row

__all__ = ["Line", "headline", "headline_text", "write_demo_page"]


class Line(TypedDict):
    """One line of the headline: what was compared, and the mean Dice by modality."""

    what: str
    method: str
    alone: bool
    dice: dict[str, float]


def headline(rows: Sequence[Row]) -> list[Line]:
    """Mean Dice over cases and organs by what was compared: one entry per line of the table, modalities as keys."""
    from cmc_sdk.training.evaluation import mean_dice

    modalities = list(dict.fromkeys(row.modality for row in rows))

    def line(name: str, method: str, alone: bool) -> Line:
        chosen = [row for row in rows if row.method == method and (row.presence == row.modality) is alone]
        dice = {modality: mean_dice(row for row in chosen if row.modality == modality) for modality in modalities}
        return {"what": name, "method": method, "alone": alone, "dice": dice}

    return [
        line("CMC, all modalities present", METHOD, False),
        line("CMC, each modality alone", METHOD, True),
        line("supervised-only at equal steps, all present", CONTROL, False),
        line("supervised-only at equal steps, each alone", CONTROL, True),
        line("nearest-class-mean intensity rule", RULE, True),
    ]


def headline_text(table: list[Line]) -> str:
    """The headline as aligned text."""
    modalities = list(table[0]["dice"])
    return text_table(
        ["", *modalities],
        rows=[[line["what"], *(_number(line["dice"][name]) for name in modalities)] for line in table],
    )


def write_demo_page(
    folder: Path, *, rows: Sequence[Row], datalist: Path, seconds: Mapping[str, float], patients: Mapping[str, int]
) -> Path:
    """Write `report.html` into the demo's folder.

    Args:
        folder: Of the demo, with `result`, `runs`, the bundle and `evaluation.csv` in it.
        rows: Of the evaluation.
        datalist: Of the phantom.
        seconds: By step.
        patients: By split.
    """
    from cmc_sdk.training.data import load_datalist

    cases = load_datalist(datalist)
    case = cases.split("test")[0]
    counts = ", ".join(f"{count} {name}" for name, count in patients.items())
    body = [
        "<h1>cmc demo</h1>",
        f'<p class="dim">A phantom of {counts} patients. {escape(platform.processor() or platform.machine())}, '
        f"{sum(seconds.values()) / 60:.1f} minutes from nothing to this page.</p>",
        _table_section(rows, test=patients["test"]),
        _organ_section(rows),
        SWITCHES,
        *(_patient_section(folder, case, modality, classes=cases.classes) for modality in cases.modality_names),
        _files_section(seconds),
    ]
    path = folder / "report.html"
    with atomic_file(path) as temporary:
        temporary.write_text(page("cmc demo", body="\n".join(body)), encoding="utf-8")
    return path


def _table_section(rows: Sequence[Row], *, test: int) -> str:
    lines = headline(rows)
    names = list(lines[0]["dice"])
    cells = [[escape(line["what"]), *(_number(line["dice"][name]) for name in names)] for line in lines]
    return (
        f"<section><h2>Mean Dice on the {test} test patients</h2>{table(['', *names], rows=cells, strong=[0])}"
        '<p class="dim small">Mean over patients, then over organs, on each scan\'s own grid. The CMC rows are '
        "measured on the exported bundle. The intensity rule labels a voxel with the class whose mean intensity is "
        "nearest: what can be had without shape and place.</p></section>"
    )


def _organ_section(rows: Sequence[Row]) -> str:
    from cmc_sdk.training.evaluation import summarise

    summaries = [entry for entry in summarise(rows) if entry.method == METHOD]
    cells = [
        [
            escape(f"{entry.modality}, given {entry.presence}: {entry.organ}"),
            str(entry.cases),
            _number(entry.dice),
            f"{_number(entry.dice_low)} – {_number(entry.dice_high)}",
            _number(entry.asd_mm, 2),
            _number(entry.hd95_mm, 1),
            _number(entry.nsd),
            str(entry.missed),
        ]
        for entry in summaries
    ]
    head = ["", "cases", "Dice", "95 % interval", "ASD, mm", "HD95, mm", "NSD", "missed"]
    strong = [place for place, entry in enumerate(summaries) if entry.organ == "mean"]
    return (
        f"<section><h2>The bundle, organ by organ</h2>{table(head, rows=cells, strong=strong)}"
        '<p class="dim small">Intervals: 2000 bootstrap samples of patients. Everything by case is in '
        '<a href="evaluation.csv">evaluation.csv</a>.</p></section>'
    )


def _patient_section(folder: Path, case: Case, modality: str, *, classes: ClassTable) -> str:
    image = read_nifti(case.images[modality])
    found = read_nifti(folder / "result" / f"labels_{modality}.nii.gz", label=True)
    truth = read_nifti(case.labels[modality], label=True)
    planes = [cut_planes(image, labels=labels, confidence=labels, through=truth) for labels in (found, truth)]
    return (
        f"<section><h2>{escape(case.case)}, {escape(modality)}</h2><h3>What the network drew</h3>"
        f"{plane_figures(planes[0], classes=classes)}<h3>What is there</h3>{plane_figures(planes[1], classes=classes)}"
        f"{class_legend(planes, classes=classes)}</section>"
    )


def _files_section(seconds: Mapping[str, float]) -> str:
    links = {
        "result/report.html": "the report that <code>cmc infer --report</code> wrote for this patient",
        f"runs/{METHOD}/report.html": "training curves of CMC",
        f"runs/{CONTROL}/report.html": "training curves of the supervised-only network",
        "evaluation.csv": "every organ of every patient",
        "trust.json": "the trust store; give it to <code>cmc infer phantom.cmc --trust trust.json</code>",
        "phantom/datalist.yaml": "the data list; start your own from it",
    }
    items = "".join(f'<li><a href="{path}">{path}</a>: {what}</li>' for path, what in links.items())
    times = table(["step", "seconds"], rows=[[escape(step), f"{spent:.0f}"] for step, spent in seconds.items()])
    return f"<section><h2>What lies where</h2><ul>{items}</ul><h3>How long it took</h3>{times}</section>"


def _number(value: float, digits: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
