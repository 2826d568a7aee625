"""`cmc engine`: engines for NVIDIA devices, built ahead of time or in place, and kept in a state folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from cmc_sdk.cli.options.trust_options import chosen_trust, trust_options
from cmc_sdk.cli.terminal.console import emit_json, json_option, progress_bar, stdout
from cmc_sdk.cli.terminal.tables import text_table

if TYPE_CHECKING:
    from cmc_sdk.runtime.backends.tensorrt.engines import BuildReport
    from cmc_sdk.runtime.backends.tensorrt.store import EngineRecord

state_option = click.option(
    "--state",
    required=True,
    type=click.Path(path_type=Path),
    help="Your own folder for engines, never the bundle's; made with mode 0700.",
)


def _words(context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...]:
    return () if value is None else tuple(word.strip().lower() for word in value.split(",") if word.strip())


def _precisions(context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    words = _words(context, option, value)
    for word in words:
        if word not in ("f32", "fp16"):
            raise click.BadParameter(f"{word!r} is none of f32, fp16.", ctx=context, param=option)
    return words or None


@click.group()
def command() -> None:
    """Build, list and check engines for NVIDIA devices.

    An engine is a graph of a bundle, compiled for one kind of device by one version of TensorRT. TensorRT-RTX builds
    for other machines' devices, without a GPU; TensorRT builds for the device that it runs on.
    """


@command.command(epilog="Example: cmc engine build liver.cmc --state engines --target sm86,sm89 --precision fp16")
@click.argument("bundle", type=click.Path(path_type=Path))
@state_option
@click.option(
    "--target",
    "targets",
    callback=_words,
    help="Build for these compute capabilities with TensorRT-RTX, e.g. sm80,sm86,sm89,sm120.  "
    "[default: this machine's device, in place]",
)
@click.option(
    "--precision", "precisions", callback=_precisions, help="f32, fp16 or both.  [default: what the bundle has]"
)
@click.option(
    "--flavour",
    type=click.Choice(["auto", "tensorrt", "tensorrt_rtx"]),
    default="auto",
    show_default=True,
    help="Which TensorRT builds.",
)
@click.option("--workspace", help="Most device memory of a layer beside its tensors, e.g. 2GB.")
@trust_options
@json_option
def build(
    bundle: Path,
    state: Path,
    targets: tuple[str, ...],
    precisions: tuple[Literal["f32", "fp16"], ...] | None,
    flavour: Literal["auto", "tensorrt", "tensorrt_rtx"],
    workspace: str | None,
    trust: Path | None,
    development: bool,
    as_json: bool,
) -> None:
    """Build the engines of BUNDLE that are not in the state folder yet.

    Exit code 0: all are there; 1: at least one was refused, and is named.
    """
    from cmc_sdk.runtime.backends.tensorrt.engines import build_engines
    from cmc_sdk.runtime.planning.limits import parse_bytes

    with progress_bar(quiet=as_json) as progress:
        report = build_engines(
            bundle,
            state=state,
            trust=chosen_trust(trust, development=development),
            targets=targets,
            precisions=precisions,
            flavour=flavour,
            workspace_bytes=None if workspace is None else parse_bytes(workspace),
            progress=progress,
        )
    if as_json:
        emit_json(report.to_dict())
    else:
        _print_build(report)
    if not report:
        click.get_current_context().exit(1)


@command.command(name="list", epilog="Example: cmc engine list --state engines")
@state_option
@json_option
def list_(state: Path, as_json: bool) -> None:
    """List the engines of a state folder. Exit code 1: one of them was changed, and is named."""
    from cmc_sdk.runtime.backends.tensorrt.engines import list_engines
    from cmc_sdk.runtime.backends.tensorrt.store import EngineRecord

    found = list_engines(state)
    records = [item for item in found if isinstance(item, EngineRecord)]
    faults = [item.fault for item in found if not isinstance(item, EngineRecord)]
    if as_json:
        emit_json({"engines": [item.model_dump(mode="json") for item in records], "faults": faults})
    else:
        rows = [[item.bundle, item.built, *_row(item)] for item in records]
        stdout().print(text_table(["bundle", "built", *_HEAD], rows=rows, text_columns=5), markup=False)
        for fault in faults:
            stdout().print(fault, markup=False)
    if faults:
        click.get_current_context().exit(1)


@command.command(epilog="Example: cmc engine check liver.cmc --state engines")
@click.argument("bundle", type=click.Path(path_type=Path))
@state_option
@trust_options
@json_option
def check(bundle: Path, state: Path, trust: Path | None, development: bool, as_json: bool) -> None:
    """Check BUNDLE's engines: none changed, of the TensorRT that is installed, and verified on this machine's device.

    Exit code 0: all that are stored are sound, and where there is a device it can run them; 1: otherwise.
    """
    from cmc_sdk.runtime.backends.tensorrt.engine_check import check_engines

    report = check_engines(bundle, state=state, trust=chosen_trust(trust, development=development))
    if as_json:
        emit_json(report.to_dict())
    else:
        rows = [[item.graph, item.target, item.flavour, item.state, item.note] for item in report.rows]
        stdout().print(text_table(["graph", "target", "flavour", "", "note"], rows=rows, text_columns=5), markup=False)
        stdout().print(report.device, markup=False)
        for fault in report.faults:
            stdout().print(fault, markup=False)
    if not report:
        click.get_current_context().exit(1)


_HEAD = ["graph", "target", "flavour", "MB", "seconds", "peak MB", "FP16 layers", "FP32 layers"]


def _row(record: EngineRecord) -> list[str]:
    return [
        record.graph,
        record.key.targets,
        f"{record.key.flavour} {record.key.version}",
        f"{record.size / 1e6:.1f}",
        f"{record.seconds:.1f}",
        "unknown" if record.peak_bytes is None else f"{record.peak_bytes / 1e6:.0f}",
        str(record.half_layers),
        str(record.float_layers),
    ]


def _print_build(report: BuildReport) -> None:
    rows = []
    for item in report.builds:
        if item.record is None:
            flavour = f"{item.key.flavour} {item.key.version}"
            rows.append(["refused", item.graph, item.key.targets, flavour, "", "", "", "", ""])
        else:
            rows.append(["was there" if item.reused else "built", *_row(item.record)])
    stdout().print(text_table(["", *_HEAD], rows=rows, text_columns=4), markup=False)
    for fault in report.faults:
        stdout().print(fault, markup=False)
