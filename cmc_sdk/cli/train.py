"""`cmc train`: from a configuration to a run folder."""

from __future__ import annotations

import json
from typing import Any

import click

from cmc_sdk.cli.terminal.console import emit_json, json_option, progress_bar, stderr, stdout
from cmc_sdk.environment import process_rank
from cmc_sdk.errors import InterruptError

__all__ = ["command"]

_EPILOG = """\b
Examples:
  cmc data phantom phantom && cmc train tiny
  cmc train amos_10 --set data.datalist=/data/amos.yaml --set optimiser.lr=1e-4
  cmc train runs/tiny/config.yaml --resume
  cmc train tiny --set method=supervised --output runs/supervised --branch runs/tiny
  torchrun --nproc-per-node 2 --no-python cmc train recipe.yaml
"""


@click.command("train", epilog=_EPILOG)
@click.argument("config")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one key, dotted; may be repeated.")
@click.option("--resume", is_flag=True, help="Continue the run that stands in the run folder.")
@click.option(
    "--branch",
    metavar="RUN",
    help="Take over stages 1 and 2 from RUN; only method and loss may differ. To compare cmc and supervised fairly.",
)
@click.option("--output", metavar="DIR", help="The run folder; runs/<name> by default.")
@json_option
def command(
    config: str, overrides: tuple[str, ...], resume: bool, branch: str | None, output: str | None, as_json: bool
) -> None:
    """Train a network on the data list that CONFIG names.

    CONFIG is a YAML file, or the name of a shipped recipe: tiny, smoke, brats13_flair_t1c, amos_10, amos_20, ms_cmrseg,
    tao.
    """
    # Here, not above: `cmc train --help` does not wait for torch.
    from cmc_sdk.training.engine import load_config, train

    settings = load_config(config, overrides=(*overrides, *([f"output={json.dumps(output)}"] if output else ())))
    try:
        with progress_bar(quiet=as_json) as progress:
            paths = train(settings, resume=resume, branch=branch, progress=progress, note=_note)
    except KeyboardInterrupt as error:
        raise InterruptError(
            "stopped by Ctrl-C; the last checkpoint, if there was one, stands",
            mend="continue with the same command and --resume",
        ) from error
    if process_rank() != 0:
        return  # under torchrun the first process speaks for all
    summary = json.loads(paths.summary.read_text(encoding="utf-8"))
    if as_json:
        emit_json({"run": str(paths.folder), "report": str(paths.report), **summary})
        return
    _print(str(paths.folder), str(paths.report), summary)


def _note(text: str) -> None:
    stderr().print(f"note: {text}", markup=False)


def _print(folder: str, report: str, summary: dict[str, Any]) -> None:
    lines = [f"run      {folder}"]
    for row in summary["validated_subsets"]:
        word = "case" if row["cases"] == 1 else "cases"
        for modality, dice in row["dice"].items():
            organs = ", ".join(f"{name} {'–' if value is None else f'{value:.3f}'}" for name, value in dice.items())
            lines.append(f"Dice     {modality} given {' + '.join(row['present'])}: {organs}  ({row['cases']} {word})")
    for name, value in summary["fused_minus_alone"].items():
        if value is not None:
            lines.append(f"gain     {name}: {value:+.3f} Dice from the other modalities")
    lines.append(f"report   {report}")
    stdout().print("\n".join(lines), markup=False)
