"""`cmc verify`: check a bundle's parity on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from cmc_sdk.cli.console import emit_json, json_option, progress_bar, stdout
from cmc_sdk.cli.tables import text_table
from cmc_sdk.cli.trusting import chosen_trust, trust_options

if TYPE_CHECKING:
    from cmc_sdk.runtime.verify import VerifyReport

EPILOG = "Example: cmc verify liver.cmc --trust trust.json --backend openvino"


@click.command(epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=click.Choice(["openvino", "onnxruntime"]),
    help="Only this one; may be given twice.  [default: every one that is installed]",
)
@trust_options
@json_option
def command(
    bundle: Path,
    backends: tuple[Literal["openvino", "onnxruntime"], ...],
    trust: Path | None,
    development: bool,
    as_json: bool,
) -> None:
    """Check the hashes of BUNDLE, and that it labels its golden scans here as it did where it was exported.

    Exit code 0: passed; 1: the labels differ by more than the bundle's limits.
    """
    from cmc_sdk.runtime.verify import verify_bundle

    with progress_bar(quiet=as_json) as progress:
        report = verify_bundle(
            bundle,
            trust=chosen_trust(trust, development=development),
            backends=backends or None,
            progress=progress,
        )
    if as_json:
        emit_json(report.to_dict())
    else:
        _print(report)
    if not report:
        click.get_current_context().exit(1)


def _print(report: VerifyReport) -> None:
    out = stdout()
    out.print(f"{report.bundle}: {report.files} files have the right hash", markup=False)
    rows = []
    for run in report.runs:
        known = [value for value in run.agreement.dice.values() if value is not None]
        rows.append(
            [
                f"{run.backend} {report.precision[run.backend]}",
                run.against,
                "+".join(run.present),
                run.modality,
                "failed" if run.faults else "passed",
                f"{min(known):.5f}" if known else "no foreground",
                f"{run.agreement.flips:.4%}",
                f"{run.agreement.foreground_vox:,}",
                f"{run.agreement.undecided_vox:,}",
            ]
        )
    head = ["backend", "against", "present", "modality", "", "lowest Dice", "flips", "foreground voxels", "undecided"]
    out.print(text_table(head, rows=rows, text_columns=5), markup=False)
    for fault in report.faults:
        out.print(fault, markup=False)
    out.print("passed" if report else "failed")
