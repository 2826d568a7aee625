"""The page that a run leaves behind: its curves, its scores, its configuration, in one self-contained file."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from cmc_sdk.files import atomic_file
from cmc_sdk.training.engine.charts import line_chart
from cmc_sdk.training.engine.config import TrainConfig
from cmc_sdk.training.engine.config_file import dump_config
from cmc_sdk.training.engine.run_folder import RunPaths
from cmc_sdk.training.engine.run_log import read_log

__all__ = ["write_report"]

Line = Mapping[str, Any]
_WATCHED = {
    "channel_variance": ("Channel variance of the features", "towards 0: constant channels, the trivial answer to CSC"),
    "foreground_ratio": ("Foreground share of unlabelled windows", ""),
}


def write_report(paths: RunPaths, *, config: TrainConfig, summary: Mapping[str, Any]) -> None:
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
    page = resources.files("cmc_sdk.training.engine").joinpath("report.html").read_text(encoding="utf-8")
    fields = {
        "TITLE": html.escape(config.name),
        "FACTS": _facts(config, steps, validations, summary),
        "SCORES": _scores(summary),
        "CHARTS": "\n".join(_charts(config, steps, validations)),
        "CONFIG": html.escape(dump_config(config)),
    }
    for key, value in fields.items():
        page = page.replace(f"{{{{{key}}}}}", value)
    with atomic_file(paths.report) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _facts(config: TrainConfig, steps: Sequence[Line], validations: Sequence[Line], summary: Mapping[str, Any]) -> str:
    done = max((line["step"] for line in (*steps, *validations)), default=0)
    best = max(validations, key=lambda line: line["mean_dice"] or 0.0, default=None)
    facts = [
        ("method", config.method),
        ("backbone", "U-Net" if config.model.backbone == "unet3d" else f"SAM-Med3D {config.model.preset}"),
        ("steps", f"{done} of {config.stages.total}"),
        ("best Dice", "–" if best is None else f"{_dice(best['mean_dice'])} at step {best['step']}"),
        ("seed", str(config.seed)),
    ]
    if "seconds" in summary:
        facts.append(("time", f"{summary['seconds'] / 60:.1f} min"))
    return "".join(f"<div><dt>{name}</dt><dd>{html.escape(value)}</dd></div>" for name, value in facts)


def _scores(summary: Mapping[str, Any]) -> str:
    """The table of the final validation: a row for each subset and modality, a column for each organ."""
    rows = summary.get("validated_subsets", [])
    if not rows:
        return '<p class="empty">The final validation has not run yet.</p>'
    organs = list(next(iter(rows[0]["dice"].values())))
    head = "".join(f"<th>{html.escape(organ)}</th>" for organ in organs)
    body = []
    for row in rows:
        for modality, dice in row["dice"].items():
            values = [dice[organ] for organ in organs]
            known = [value for value in values if value is not None]
            mean = sum(known) / len(known) if known else None
            cells = "".join(_cell(value) for value in (*values, mean))
            given = html.escape(" + ".join(row["present"]))
            body.append(f"<tr><th>{given}</th><th>{html.escape(modality)}</th><td>{row['cases']}</td>{cells}</tr>")
    gaps = summary.get("fused_minus_alone", {})
    note = ", ".join(f"{html.escape(name)} {value:+.3f}" for name, value in gaps.items() if value is not None)
    text = f"<p>Fused minus alone (far below 0, the other modality misleads): {note}.</p>" if note else ""
    return (
        f"<table><thead><tr><th>given</th><th>labelled</th><th>cases</th>{head}<th>mean</th></tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>{text}"
    )


def _charts(config: TrainConfig, steps: Sequence[Line], validations: Sequence[Line]) -> Iterable[str]:
    stages, first = [], 0
    for name, length in (("alone", config.stages.alone), ("fused", config.stages.fused), ("semi", config.stages.semi)):
        if length:
            stages.append((name, float(first), float(first + length)))
        first += length
    shared: dict[str, Any] = {"last_step": float(config.stages.total), "stages": stages}
    yield line_chart("Validation Dice", _by_modality(validations, "mean_by_modality"), y_range=(0.0, 1.0), **shared)
    yield line_chart("Loss", _series(steps, lambda line: {"total": line["loss"], **line["terms"]}), **shared)
    for modality in validations[-1]["dice"] if validations else ():
        per_organ = _series(validations, lambda line, name=modality: line["dice"][name])  # type: ignore[misc]
        yield line_chart(f"Validation Dice by organ: {modality}", per_organ, y_range=(0.0, 1.0), **shared)
    yield line_chart(
        "Predicted over reference foreground",
        _by_modality(validations, "foreground_ratio"),
        note="far above 1: over-segmentation, the mark of a harmful CAC",
        **shared,
    )
    mia = _series(steps, lambda line: line.get("mia", {}))
    for word, note in (("diagonal", "near 1: MIA mixes nothing"), ("entropy", "near log C: A is uniform")):
        chosen = {name.partition("/")[0]: points for name, points in mia.items() if name.endswith(f"/{word}")}
        yield line_chart(f"MIA: mean {word} of A", chosen, note=note, **shared)
    scalars = {name: points for name, points in mia.items() if "/" not in name}
    yield line_chart("MIA: τ and γ", scalars, **shared)
    watched = _series(steps, lambda line: line.get("watch", {}))
    for head in dict.fromkeys(name.partition("/")[0] for name in watched):
        chosen = {name.partition("/")[2]: points for name, points in watched.items() if name.startswith(f"{head}/")}
        title, note = _WATCHED.get(head, (head.replace("_", " "), ""))
        yield line_chart(title, chosen, note=note, **shared)
    yield line_chart("Weights of the terms", _series(steps, lambda line: line.get("weights", {})), **shared)
    yield line_chart("Learning rate", _series(steps, lambda line: {"learning rate": line["lr"]}), **shared)
    yield line_chart("Gradient norm", _series(steps, lambda line: {"norm": line["gradient_norm"]}), **shared)


def _by_modality(lines: Sequence[Line], key: str) -> dict[str, list[tuple[float, float]]]:
    return _series(lines, lambda line: line[key])


def _series(lines: Sequence[Line], pick: Callable[[Line], Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in pick(line).items():
            if value is not None:
                found.setdefault(name, []).append((float(line["step"]), float(value)))
    return found


def _dice(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _cell(value: float | None) -> str:
    share = 0 if value is None else round(100 * value)
    return f'<td style="--share:{share}%">{_dice(value)}</td>'
