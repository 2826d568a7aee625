"""`cmc infer`: label a scan with a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from cmc_sdk.cli.options.backend_options import backend_option, precision_option, prefer_instructions, state_option
from cmc_sdk.cli.options.scan_options import ScanRequest, print_selection, scan_options
from cmc_sdk.cli.options.trust_options import chosen_trust, trust_options
from cmc_sdk.cli.terminal.console import emit_json, json_option, json_progress, progress_bar, stdout
from cmc_sdk.cli.terminal.tables import text_table
from cmc_sdk.errors import InputError
from cmc_sdk.pairing import ScanPairing

if TYPE_CHECKING:
    from cmc_sdk.runtime.backends.select import PrecisionChoice
    from cmc_sdk.runtime.planning.run_plan import RunPlan
    from cmc_sdk.runtime.results.record import RunRecord

EPILOG = """\b
Examples:
  cmc infer liver.cmc --trust trust.json --image ct=ct.nii.gz --image mr=mr.nii.gz -o result --report
  cmc infer liver.cmc --trust trust.json --image ct=ct.nii.gz -o result --max-mem 4GB --deadline 60s
  cmc infer liver.cmc --trust trust.json --study STUDY -o result --format nifti,dicom-seg,sr
  cmc infer liver.cmc --trust trust.json --study STUDY --series ct=4 -o result --irregular resample
  cmc infer liver.cmc --development --image ct=ct.nii.gz --plan
"""


@click.command(epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@scan_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The folder to write.")
@trust_options
@backend_option
@precision_option
@state_option
@click.option(
    "--pairing",
    type=click.Choice(get_args(ScanPairing)),
    default="auto",
    show_default=True,
    help="registered: the scans share one frame of reference; separate: each is labelled alone; auto: registered if "
    "DICOM says so or they lie on one grid.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
@click.option("--max-mem", metavar="SIZE", help="Refuse before the start what would need more memory, as in 4GB.")
@click.option(
    "--deadline",
    metavar="TIME",
    help="Refuse before the start what would take longer, as in 30s, and end a run that does. Counts from reading the "
    "scans to finished labels.",
)
@click.option("--plan", is_flag=True, help="Only print what the run would take, in bytes and seconds.")
@click.option("--report", is_flag=True, help="Also write report.html: planes with overlays, volumes, quality, record.")
@click.option(
    "--format",
    "formats",
    default="nifti",
    show_default=True,
    metavar="LIST",
    help="Comma list of nifti, dicom-seg, dicom-labelmap, rtstruct and sr (volumes); all but nifti need DICOM scans.",
)
@json_option
def command(
    bundle: Path,
    images: tuple[str, ...],
    study: Path | None,
    series: tuple[str, ...],
    irregular: Literal["refuse", "resample"],
    output: Path | None,
    trust: Path | None,
    development: bool,
    backend: str,
    precision: PrecisionChoice,
    state: Path | None,
    pairing: ScanPairing,
    threads: int | None,
    max_mem: str | None,
    deadline: str | None,
    plan: bool,
    report: bool,
    formats: str,
    as_json: bool,
) -> None:
    """Label scans with BUNDLE, each on its own grid.

    Writes labels_MODALITY.nii.gz, confidence_MODALITY.nii.gz (1/255) and record.json into a new folder, and what else
    --format names; the folder appears when all is done. Runs on this machine alone: no network, no file elsewhere. With
    --json, progress goes to standard error as one JSON object a line.

    Exit: 0 done, 1 failed, 2 wrong use or bad input, 3 deadline passed, 4 does not fit the limits, 130 Ctrl-C.
    """
    from cmc_sdk.imaging.dicom.writing.algorithm import AlgorithmIdentity
    from cmc_sdk.runtime.output.files import check_sources, parse_formats
    from cmc_sdk.runtime.output.folder import check_result_folder, write_result
    from cmc_sdk.runtime.scans.study import explain
    from cmc_sdk.runtime.session import Session

    request = ScanRequest.parse(images=images, study=study, series=series, irregular=irregular)
    wanted = parse_formats(formats)
    if output is not None:
        check_result_folder(output)
    elif not plan:
        raise InputError("no folder to write was given", mend="give one with -o, or --plan to see what it would take")
    prefer_instructions([precision])
    session = Session(
        bundle,
        trust=chosen_trust(trust, development=development),
        backend=backend,
        precision=precision,
        state=state,
        threads=threads,
        max_mem=max_mem,
        deadline=deadline,
    )
    request.check_modalities(session.spec.names)
    with json_progress() if as_json else progress_bar() as progress:
        volumes, selection = request.open(spec=session.spec, progress=progress)
    check_sources(volumes, formats=wanted)
    if selection is not None and not as_json:
        print_selection(selection)
    if plan or output is None:
        _print_plan(session.plan(volumes, pairing=pairing), as_json=as_json)
        return
    with json_progress() if as_json else progress_bar() as progress:
        result = session.infer(volumes, pairing=pairing, progress=progress)
    manifest = session.bundle.manifest
    files = write_result(
        result,
        folder=output,
        images=volumes,
        spec=session.spec,
        report=report,
        formats=wanted,
        algorithm=AlgorithmIdentity(
            name=manifest.name, version=manifest.version, serial_number=session.bundle.manifest_sha256
        ),
    )
    if as_json:
        emit_json(
            {
                "output": str(output),
                **({} if selection is None else {"selection": explain(selection)}),
                "files": {name: str(path) for name, path in files.items()},
                "volumes_ml": result.volumes_ml,
                "quality": {"status": result.quality.status, "reasons": list(result.quality.reasons)},
                "record": result.record.to_dict(),
            }
        )
        return
    out = stdout()
    names = list(result.labels)
    rows = [
        [item.name, *(f"{result.volumes_ml[name].get(item.name, 0.0):,.1f}" for name in names)]
        for item in session.spec.classes.classes
    ]
    out.print(text_table(["ml", *names], rows=rows), markup=False)
    out.print(f"quality  {result.quality.status}", markup=False)
    for reason in result.quality.reasons:
        out.print(f"         {reason}", markup=False)
    out.print(f"trust    {_trust_line(result.record)}", markup=False)
    for warning in result.record.warnings:
        out.print(f"warning  {warning}", markup=False)
    record = result.record
    out.print(f"computed with {record.backend} {record.precision}: {record.backend_reason}", markup=False)
    for name, path in files.items():
        out.print(f"{name.replace('_', ' ')}: {path}", markup=False)


def _trust_line(record: RunRecord) -> str:
    signer = record.bundle.key_id if record.bundle is not None else None
    return f"signed by key {signer}" if signer else str(record.trust)


def _print_plan(plan: RunPlan, *, as_json: bool) -> None:
    if as_json:
        emit_json(plan.to_dict())
        return
    rows = [[" + ".join(group.modalities), _size(group.grid.size_vox), str(len(group.starts))] for group in plan.groups]
    out = stdout()
    out.print(text_table(["group", "model grid", "windows"], rows=rows), markup=False)
    calls = f"{plan.batch} window(s) in one call, {plan.streams} call(s) at once"
    out.print(f"\noverlap {plan.overlap:g}, {calls}", markup=False)
    parts = [
        ("network and library", plan.session_bytes),
        ("scans as stored", plan.input_bytes),
        ("core and labels", plan.core_bytes),
        ("peak of the process", plan.total_bytes),
    ]
    known = [[name, "unknown" if amount is None else f"{amount / 1e6:,.0f}"] for name, amount in parts]
    out.print(text_table(["MB", ""], rows=known), markup=False)
    out.print(f"\nexpected: {plan.seconds:.1f} s, {plan.window_seconds:.3f} s a window", markup=False)
    for warning in plan.warnings:
        out.print(f"warning  {warning}", markup=False)


def _size(size: tuple[int, int, int]) -> str:
    return "×".join(map(str, size))
