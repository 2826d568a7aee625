"""`cmc verify`: the gate again, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from cmc_sdk.cli.options.backend_options import PRECISIONS, BackendType, prefer_instructions
from cmc_sdk.cli.options.scan_options import ScanRequest, print_selection, scan_options
from cmc_sdk.cli.options.trust_options import chosen_trust, trust_options
from cmc_sdk.cli.terminal.console import emit_json, json_option, progress_bar, stdout
from cmc_sdk.cli.terminal.gate_table import gate_table
from cmc_sdk.pairing import ScanPairing

if TYPE_CHECKING:
    from cmc_sdk.bundle.precision import Precision
    from cmc_sdk.imaging.volume import Volume
    from cmc_sdk.runtime.backends.row import Proof
    from cmc_sdk.runtime.gate.verify import VerifyReport

EPILOG = """\b
Examples:
  cmc verify liver.cmc --trust trust.json
  cmc verify liver.cmc --trust trust.json --image ct=ct.nii.gz --image mr=mr.nii.gz
  cmc verify liver.cmc --trust trust.json --state /var/lib/cmc
  cmc verify liver.cmc --development --backend openvino --precision int8
"""


@click.command(epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=BackendType(fits=lambda row: not row.has_engines),
    help="Only this one; may be given several times.  [default: every one that is installed]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="Only this one; may be given several times.  [default: every one in the bundle]",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the report in this folder of yours (made if need be, 0700). Engines in it are held to the limits too, "
    "on this device; where they keep them it is noted there, and `cmc infer --backend tensorrt` may use them.",
)
@scan_options
@click.option(
    "--pairing",
    type=click.Choice(get_args(ScanPairing)),
    default="auto",
    show_default=True,
    help="How the scans relate, as in `cmc infer`.",
)
@trust_options
@json_option
def command(
    bundle: Path,
    backends: tuple[str, ...],
    precisions: tuple[Precision, ...],
    state: Path | None,
    images: tuple[str, ...],
    study: Path | None,
    series: tuple[str, ...],
    irregular: Literal["refuse", "resample"],
    pairing: ScanPairing,
    trust: Path | None,
    development: bool,
    as_json: bool,
) -> None:
    """Check that BUNDLE is whole, and that it labels here as the network that it was exported from.

    Every hash; then every precision on every installed backend, through the whole path: f32 beside the labels that
    came with the bundle, all others beside ONNX Runtime f32, on the bundle's golden scans, on stress scans and on
    your own. Each must keep the limits of its precision, which the bundle states.

    Exit code 0: passed; 1: the labels differ by more than the bundle's limits; 2: not a bundle, or bad input.
    """
    from cmc_sdk.bundle.admission import admit
    from cmc_sdk.runtime.gate.verify import verify_bundle

    scans = images or study
    request = ScanRequest.parse(images=images, study=study, series=series, irregular=irregular) if scans else None
    opened, _ = admit(bundle, trust=chosen_trust(trust, development=development))
    prefer_instructions(precisions or opened.manifest.gate)
    engines: list[Proof] = []
    if state is not None:
        from cmc_sdk.runtime.gate.verify_state import keep_report, open_engines

        engines = open_engines(opened, state=state, precisions=precisions or None)
    volumes: dict[str, Volume] = {}
    with progress_bar(quiet=as_json) as progress:
        if request is not None:
            request.check_modalities(opened.manifest.spec.names)
            volumes, selection = request.open(spec=opened.manifest.spec, progress=progress)
            if selection is not None and not as_json:
                print_selection(selection)
        report = verify_bundle(
            opened,
            backends=backends or None,
            precisions=precisions or None,
            images=volumes,
            pairing=pairing,
            others=[backend for proof in engines for backend in proof.backends],
            progress=progress,
        )
    if state is not None:
        keep_report(report, state=state)
        if report:
            for proof in engines:
                proof.keep()
    if as_json:
        emit_json(report.to_dict())
    else:
        _print(report)
    if not report:
        click.get_current_context().exit(1)


def _print(report: VerifyReport) -> None:
    out = stdout()
    out.print(f"{report.bundle}: {report.files} files have the right hash", markup=False)
    out.print(f"\nBeside the labels of {report.golden.reference}", markup=False)
    out.print(gate_table([("f32", report.golden.to_dict())]), markup=False)
    gates = [(precision, gate.to_dict()) for precision, gate in report.gates.items()]
    reference = next((gate.reference for gate in report.gates.values()), None)
    if any(gate["backends"] for _, gate in gates):
        out.print(f"\nBeside the labels of {reference}", markup=False)
        out.print(gate_table(gates), markup=False)
    for note in report.notes:
        out.print(f"note: {note}", markup=False)
    for fault in report.faults:
        out.print(fault, markup=False)
    out.print("passed" if report else "failed")
