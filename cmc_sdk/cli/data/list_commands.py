"""`cmc data`: check a data list, make a phantom, import another program's list; DICOM is in `dicom`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, TypeVar, get_args

import click

from cmc_sdk.cli.data.dicom_commands import anonymise, from_dicom, scan
from cmc_sdk.cli.terminal.console import emit_json, json_option, progress_bar
from cmc_sdk.cli.terminal.tables import text_table
from cmc_sdk.errors import InputError
from cmc_sdk.pairing import CasePairing

if TYPE_CHECKING:
    from cmc_sdk.training.data.datalist import Datalist
    from cmc_sdk.training.data.importers import Shares

Decorated = TypeVar("Decorated", bound=Callable[..., object])
SPLITS = ("labelled", "unlabelled", "validation", "test")


class _Summary(TypedDict):
    """What a data list holds, in short."""

    name: str
    pairing: CasePairing
    modalities: list[str]
    classes: list[str]
    cases: dict[str, int]
    centres: list[str]


CHECK_EPILOG = "Example: cmc data check phantom/datalist.yaml"
PHANTOM_EPILOG = "Example: cmc data phantom phantom/ --labelled 8 --unlabelled 24 --pairing registered"
IMPORT_EPILOG = """\b
Examples:
  cmc data import released cmc_data_list_example.json -o amos.yaml
  cmc data import decathlon Task04_Hippocampus/dataset.json -o hippocampus.yaml --labelled 8 --validation 4 --test 20
  cmc data import nnunet Dataset027_ACDC -o acdc.yaml --labelled 10 --validation 10
"""


@click.group()
def command() -> None:
    """Check a data list, make a phantom, import another program's list, or work with DICOM."""


command.add_command(scan)
command.add_command(from_dicom)
command.add_command(anonymise)


@command.command(epilog=CHECK_EPILOG)
@click.argument("datalist", type=click.Path(path_type=Path))
@json_option
def check(datalist: Path, as_json: bool) -> None:
    """Name every fault of DATALIST at once; exit code 2 if one of them is an error, 0 if there are warnings only.

    Reads every image and every label that training would read. Labels of unlabelled cases are not opened.
    """
    from cmc_sdk.training.data.check import check_datalist
    from cmc_sdk.training.data.datalist import load_datalist

    loaded = load_datalist(datalist)
    with progress_bar(quiet=as_json) as progress:
        faults = check_datalist(loaded, progress=progress)
    errors = sum(fault.severity == "error" for fault in faults)
    summary = _summary(loaded)
    if as_json:
        emit_json({"datalist": str(datalist), **summary, "errors": errors, "faults": [asdict(item) for item in faults]})
    else:
        _print_summary(summary)
        if faults:
            rows = [[item.severity, item.code, item.case or "-", f"{item.message}; {item.mend}"] for item in faults]
            click.echo(text_table(("severity", "fault", "case", "what and how to mend it"), rows=rows, text_columns=4))
        warnings = len(faults) - errors
        click.echo(f"{errors} errors, {warnings} warnings" if faults else "no fault found")
    if errors:
        sys.exit(2)


@command.command(epilog=PHANTOM_EPILOG)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--labelled", type=click.IntRange(1), default=8, show_default=True, help="Patients with labels.")
@click.option("--unlabelled", type=click.IntRange(0), default=16, show_default=True, help="Patients without.")
@click.option("--validation", type=click.IntRange(0), default=4, show_default=True, help="Patients to validate on.")
@click.option("--test", type=click.IntRange(0), default=8, show_default=True, help="Patients to test on.")
@click.option(
    "--pairing",
    type=click.Choice(get_args(CasePairing)),
    default="registered",
    show_default=True,
    help="Both modalities on one grid, moved between them, or one modality a patient.",
)
@click.option("--spacing", type=click.FloatRange(1, 20), default=5.0, show_default=True, help="Mean spacing in mm.")
@click.option("--seed", type=int, default=0, show_default=True, help="Equal seeds give equal files.")
@json_option
def phantom(
    out: Path,
    labelled: int,
    unlabelled: int,
    validation: int,
    test: int,
    pairing: CasePairing,
    spacing: float,
    seed: int,
    as_json: bool,
) -> None:
    """Make CT and MR phantom scans of an abdomen in the new folder OUT, with their data list.

    Five organs whose anatomy varies by patient, four centres. No organ has an intensity of its own.
    """
    from cmc_sdk.training.data.datalist import load_datalist
    from cmc_sdk.training.data.phantom import make_phantom

    with progress_bar(quiet=as_json) as progress:
        path = make_phantom(
            out,
            seed=seed,
            labelled=labelled,
            unlabelled=unlabelled,
            validation=validation,
            test=test,
            pairing=pairing,
            spacing_mm=spacing,
            progress=progress,
        )
    _report(load_datalist(path), path, as_json)


@command.group("import", epilog=IMPORT_EPILOG)
def import_() -> None:
    """Write a data list from the layout of another program. No image is copied."""


def _output(function: Decorated) -> Decorated:
    option = click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        required=True,
        help="The data list to write (.yaml or .json).",
    )
    return option(json_option(function))


def _shares(function: Decorated) -> Decorated:
    for option in (
        click.option("--seed", type=int, default=0, show_default=True, help="Of the draw of the splits."),
        click.option("--test", type=click.IntRange(0), default=0, show_default=True, help="Patients to test on."),
        click.option("--validation", type=click.IntRange(0), default=0, show_default=True, help="... to validate on."),
        click.option("--labelled", type=click.IntRange(1), help="Patients that keep their labels.  [default: all]"),
        click.option("--pairing", type=click.Choice(["registered", "misaligned"]), default="registered"),
    ):
        function = option(function)
    return function


@import_.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--pairing", type=click.Choice(get_args(CasePairing)), default="unpaired")
@_output
def released(source: Path, pairing: CasePairing, output: Path, as_json: bool) -> None:
    """From the JSON of the authors' released code."""
    from cmc_sdk.training.data.importers import import_released

    _write(import_released(source, pairing=pairing), output, as_json)


@import_.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--channels-to", type=click.Path(path_type=Path), help="A new folder for the channels of 4-D images.")
@_shares
@_output
def decathlon(
    source: Path,
    channels_to: Path | None,
    pairing: Literal["registered", "misaligned"],
    labelled: int | None,
    validation: int,
    test: int,
    seed: int,
    output: Path,
    as_json: bool,
) -> None:
    """From a Decathlon dataset.json, or a list in its form."""
    from cmc_sdk.training.data.importers import import_decathlon

    _writable(output)
    with progress_bar(quiet=as_json) as progress:
        datalist = import_decathlon(
            source,
            shares=_share_out(labelled, validation, test, seed),
            pairing=pairing,
            channels_to=channels_to,
            progress=progress,
        )
    _write(datalist, output, as_json)


@import_.command()
@click.argument("source", type=click.Path(path_type=Path))
@_shares
@_output
def nnunet(
    source: Path,
    pairing: Literal["registered", "misaligned"],
    labelled: int | None,
    validation: int,
    test: int,
    seed: int,
    output: Path,
    as_json: bool,
) -> None:
    """From an nnU-Net raw data set folder."""
    from cmc_sdk.training.data.importers import import_nnunet

    shares = _share_out(labelled, validation, test, seed)
    _write(import_nnunet(source, shares=shares, pairing=pairing), output, as_json)


def _share_out(labelled: int | None, validation: int, test: int, seed: int) -> Shares:
    from cmc_sdk.training.data.importers import Shares

    return Shares(labelled=labelled, validation=validation, test=test, seed=seed)


def _writable(output: Path) -> None:
    if output.suffix not in {".yaml", ".yml", ".json"}:
        raise InputError(f"{output}: a data list ends in .yaml, .yml or .json", mend="choose such a name")
    if not output.absolute().parent.is_dir():
        raise InputError(f"{output}: its folder does not exist", mend=f"create {output.parent} first")


def _write(datalist: Datalist, output: Path, as_json: bool) -> None:
    from cmc_sdk.training.data.datalist import write_datalist

    _writable(output)
    write_datalist(datalist, output)
    _report(datalist, output, as_json)


def _report(datalist: Datalist, path: Path, as_json: bool) -> None:
    summary = _summary(datalist)
    if as_json:
        emit_json({"datalist": str(path), **summary})
        return
    _print_summary(summary)
    click.echo(f"written: {path}")


def _summary(datalist: Datalist) -> _Summary:
    counts: Counter[str] = Counter(case.split for case in datalist.cases)
    return {
        "name": datalist.name,
        "pairing": datalist.pairing,
        "modalities": list(datalist.modality_names),
        "classes": list(datalist.classes.names),
        "cases": {split: counts[split] for split in SPLITS},
        "centres": sorted({case.centre for case in datalist.cases}),
    }


def _print_summary(summary: _Summary) -> None:
    cases = ", ".join(f"{count} {split}" for split, count in summary["cases"].items())
    click.echo(f"{summary['name']}: {summary['pairing']}; modalities {', '.join(summary['modalities'])}; cases {cases}")
    click.echo(f"classes {', '.join(summary['classes'])}; centres {', '.join(summary['centres'])}")
