"""`cmc export`: turn a training run into a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cmc_sdk.cli.terminal.console import emit_json, json_option, progress_bar, stdout

if TYPE_CHECKING:
    from cmc_sdk.bundle.manifest import Manifest
    from cmc_sdk.bundle.precision import Precision

EPILOG = "Example: cmc export runs/liver -o liver.cmc --name liver --version 1.0 --licence CC-BY-4.0 --fp16"


@click.command(epilog=EPILOG)
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The bundle to write, NAME.cmc.")
@click.option("--name", help="Name of the model.  [default: the bundle's folder without .cmc]")
@click.option("--version", default="1", show_default=True, help="Version of the model, your own.")
@click.option("--licence", default="not stated", show_default=True, help="Under which the weights may be used.")
@click.option(
    "--intended-use",
    default="research only; not a medical device",
    show_default=True,
    help="What the model is for, in words.",
)
@click.option(
    "--min-overlap",
    type=click.FloatRange(0.0, 0.9),
    help="How far `cmc infer --deadline` may lower the windows' overlap to be in time.  [default: not at all]",
)
@click.option(
    "--fp16",
    is_flag=True,
    help="Also write graphs in half precision, calibrated on validation scans, and hold them to the gate.",
)
@click.option("--bf16", is_flag=True, help="Also hold bf16 on OpenVINO to the gate, so that it may be used.")
@click.option("--int8", is_flag=True, help="Also write 8-bit graphs for OpenVINO, calibrated on validation scans.")
@json_option
def command(
    run: Path,
    output: Path,
    name: str | None,
    version: str,
    licence: str,
    intended_use: str,
    min_overlap: float | None,
    fp16: bool,
    bf16: bool,
    int8: bool,
    as_json: bool,
) -> None:
    """Write the best checkpoint of the training run RUN as a bundle that runs on any machine.

    The written graphs are run on validation scans and on a synthetic one, on every installed backend, and must label
    them as the trained network does; otherwise nothing is written. A further precision that does not is left out of the
    bundle, is named with the class and the place, and the exit code is 1.
    """
    from cmc_sdk.bundle.reader import open_bundle
    from cmc_sdk.cli.terminal.bundle_document import describe
    from cmc_sdk.errors import ParityError
    from cmc_sdk.export import export_bundle

    refused: dict[Precision, ParityError] = {}
    asked: dict[Precision, bool] = {"fp16": fp16, "bf16": bf16, "int8": int8}
    with progress_bar(quiet=as_json) as progress:
        manifest = export_bundle(
            run,
            output=output,
            name=name,
            version=version,
            licence=licence,
            intended_use=intended_use,
            min_overlap=min_overlap,
            precisions=[name for name, wanted in asked.items() if wanted],
            on_refusal=refused.__setitem__,
            progress=progress,
        )
    document = describe(open_bundle(output))
    if as_json:
        emit_json({**document, "refused": {key: str(error) for key, error in refused.items()}})
    else:
        _print(output, manifest=manifest, document=document)
    if refused:
        raise ParityError(
            f"{output} is written without {', '.join(refused)}: "
            + "; ".join(f"{key}: {error.what}" for key, error in refused.items()),
            mend="use it in the precisions that passed, or train longer and export again",
        )


def _print(output: Path, *, manifest: Manifest, document: Mapping[str, Any]) -> None:
    from cmc_sdk.cli.terminal.gate_table import print_parity
    from cmc_sdk.cli.terminal.island_table import print_islands

    size = sum(entry.size for entry in manifest.files)
    stdout().print(f"{output}: {manifest.name} {manifest.version}, {len(manifest.files)} files, {size / 1e6:.1f} MB")
    print_parity(document["parity"])
    print_islands(document["parity"])
