"""The page that a run leaves behind: its curves, its scores, its configuration, in one self-contained file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from cmc_sdk.atomic import atomic_file
from cmc_sdk.pages.charts import line_chart
from cmc_sdk.pages.shell import escape, facts, page, share, table
from cmc_sdk.training.engine.config import TrainConfig
from cmc_sdk.training.engine.config_file import dump_config
from cmc_sdk.training.engine.run_documents import LogLine, Summary
from cmc_sdk.training.engine.run_folder import RunPaths
from cmc_sdk.training.engine.run_log import read_log

__all__ = ["write_report"]

_WATCHED = {
    "channel_variance": ("Channel variance of the features", "towards 0: constant channels, the trivial answer to CSC"),
    "foreground_ratio": ("Foreground share of unlabelled windows", ""),
}


def write_report(paths: RunPaths, *, config: TrainConfig, summary: Summary) -> None:
    """Write `report.html` from the log.

    Args:
        paths: The run folder, with a log.
        config: The run's configuration.
        summary: The content of `summary.json`; empty while training goes on.

    Raises:
        ResourceError: The disk is full.
    """
    lines = read_log(paths.log) if paths.log.is_file() else []
    steps = [line for line in lines if line["kind"] == "step"]
    validations = [line for line in lines if line["kind"] == "validation"]
    charts = "\n".join(_charts(config, steps, validations))
    body = [
        f"<h1>{escape(config.name)}</h1>",
        f"<section><h2>Run</h2>{facts(_facts(config, steps, validations, summary))}</section>",
        f"<section><h2>Dice on whole validation cases, on their own grids</h2>{_scores(summary)}</section>",
        f'<section><h2>Curves</h2><div class="charts">{charts}</div></section>',
        "<section><h2>Configuration</h2><details><summary>every key of this run</summary>"
        f"<pre>{escape(dump_config(config))}</pre></details></section>",
    ]
    with atomic_file(paths.report) as temporary:
        temporary.write_text(page(f"{config.name} – training", body="\n".join(body)), encoding="utf-8")


def _facts(
    config: TrainConfig, steps: Sequence[LogLine], validations: Sequence[LogLine], summary: Summary
) -> Iterator[tuple[str, str]]:
    done = max((line["step"] for line in (*steps, *validations)), default=0)
    best = max(validations, key=lambda line: line["mean_dice"] or 0.0, default=None)
    yield "method", config.method
    yield "backbone", "U-Net" if config.model.backbone == "unet3d" else f"SAM-Med3D {config.model.preset}"
    yield "steps", f"{done} of {config.stages.total}"
    yield "best Dice", "–" if best is None else f"{_dice(best['mean_dice'])} at step {best['step']}"
    yield "seed", str(config.seed)
    if "seconds" in summary:
        yield "time", f"{summary['seconds'] / 60:.1f} min"


def _scores(summary: Summary) -> str:
    """The table of the final validation: a row for each subset and modality, a column for each organ."""
    scores = summary.get("validated_subsets", [])
    if not scores:
        return '<p class="dim">The final validation has not run yet.</p>'
    organs = list(next(iter(scores[0]["dice"].values())))
    rows = []
    for score in scores:
        for modality, dice in score["dice"].items():
            values = [dice[organ] for organ in organs]
            known = [value for value in values if value is not None]
            mean = sum(known) / len(known) if known else None
            given = escape(" + ".join(score["present"]))
            cells = [share(value or 0.0, text=_dice(value)) for value in (*values, mean)]
            rows.append([given, escape(modality), str(score["cases"]), *cells])
    gaps = summary.get("fused_minus_alone", {})
    note = ", ".join(f"{escape(name)} {value:+.3f}" for name, value in gaps.items() if value is not None)
    text = f"<p>Fused minus alone (far below 0, the other modality misleads): {note}.</p>" if note else ""
    return table(["given", "labelled", "cases", *organs, "mean"], rows=rows, texts=2) + text


def _charts(config: TrainConfig, steps: Sequence[LogLine], validations: Sequence[LogLine]) -> Iterator[str]:
    stages, first = [], 0
    for name, length in (("alone", config.stages.alone), ("fused", config.stages.fused), ("semi", config.stages.semi)):
        if length:
            stages.append((name, float(first), float(first + length)))
        first += length
    chart = partial(line_chart, last_step=float(config.stages.total), stages=stages)
    yield chart("Validation Dice", _series(validations, lambda line: line["mean_by_modality"]), y_range=(0.0, 1.0))
    yield chart("Loss", _series(steps, lambda line: {"total": line["loss"], **line["terms"]}))
    for modality in validations[-1]["dice"] if validations else ():
        per_organ = _series(validations, partial(_dice_of, modality=modality))
        yield chart(f"Validation Dice by organ: {modality}", per_organ, y_range=(0.0, 1.0))
    yield chart(
        "Predicted over reference foreground",
        _series(validations, lambda line: line["foreground_ratio"]),
        note="far above 1: over-segmentation, the mark of a harmful CAC",
    )
    mia = _series(steps, lambda line: line.get("mia", {}))
    for word, note in (("diagonal", "near 1: MIA mixes nothing"), ("entropy", "near log C: A is uniform")):
        chosen = {name.partition("/")[0]: points for name, points in mia.items() if name.endswith(f"/{word}")}
        yield chart(f"MIA: mean {word} of A", chosen, note=note)
    scalars = {name: points for name, points in mia.items() if "/" not in name}
    yield chart("MIA: τ and γ", scalars)
    watched = _series(steps, lambda line: line.get("watch", {}))
    for head in dict.fromkeys(name.partition("/")[0] for name in watched):
        chosen = {name.partition("/")[2]: points for name, points in watched.items() if name.startswith(f"{head}/")}
        title, note = _WATCHED.get(head, (head.replace("_", " "), ""))
        yield chart(title, chosen, note=note)
    yield chart("Weights of the terms", _series(steps, lambda line: line.get("weights", {})))
    yield chart("Learning rate", _series(steps, lambda line: {"learning rate": line["lr"]}))
    yield chart("Gradient norm", _series(steps, lambda line: {"norm": line["gradient_norm"]}))


def _series(
    lines: Sequence[LogLine], pick: Callable[[LogLine], Mapping[str, float | None]]
) -> dict[str, list[tuple[float, float]]]:
    """Points (step, value) of what `pick` takes from each line, by its name; None leaves a gap."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in pick(line).items():
            if value is not None:
                found.setdefault(name, []).append((float(line["step"]), float(value)))
    return found


def _dice_of(line: LogLine, *, modality: str) -> Mapping[str, float | None]:
    return line["dice"][modality]


def _dice(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
