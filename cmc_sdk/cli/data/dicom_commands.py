"""`cmc data scan`, `cmc data from-dicom` and `cmc data anonymise`: what DICOM there is, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from cmc_sdk.cli.options.scan_options import irregular_option
from cmc_sdk.cli.terminal.console import emit_json, json_option, progress_bar
from cmc_sdk.cli.terminal.tables import text_table
from cmc_sdk.errors import InputError
from cmc_sdk.pairing import CasePairing

if TYPE_CHECKING:
    from cmc_sdk.imaging.dicom.reading.scan import DicomScan
    from cmc_sdk.imaging.dicom.reading.series import SeriesVolume
    from cmc_sdk.training.data.importers.dicom import StudyRules

__all__ = ["anonymise", "from_dicom", "scan"]

SCAN_EPILOG = "Example: cmc data scan STUDY"
ANONYMISE_EPILOG = "Example: cmc data anonymise STUDY STUDY-anonymous"
FROM_EPILOG = """\b
Examples:
  cmc data from-dicom STUDIES prostate --rules prostate.yaml
  cmc data from-dicom STUDIES prostate --modality 't2=MR:t2*,!localizer' --modality adc=MR:adc --classes prostate,lesion
"""


@click.command(epilog=SCAN_EPILOG)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--uids", is_flag=True, help="Also print each Series Instance UID, for --series.")
@json_option
def scan(folder: Path, uids: bool, as_json: bool) -> None:
    """Show what DICOM volumes FOLDER holds (or a DICOMDIR or zip), and what becomes no volume and why.

    Reads headers only. A series that holds several volumes (b-values, echoes, orientations) has a line for each.
    Letters tell patients, studies and frames of reference apart without naming them.
    """
    from cmc_sdk.imaging.dicom.reading.scan import scan_dicom

    with progress_bar(quiet=as_json) as progress:
        found = scan_dicom(folder, progress=progress)
    if as_json:
        emit_json(_scan_document(found))
        return
    letters = _Letters()
    head = ["series", "", "size", "spacing, mm", "view", "patient", "study", "frame", "files", "note"]
    rows = [
        [
            volume.label,
            volume.modality,
            "×".join(map(str, volume.size_vox)),
            "×".join(f"{length:.3g}" for length in volume.spacing_mm),
            volume.orientation,
            letters.of("patient", volume.patient_key),
            letters.of("study", volume.study_instance_uid),
            letters.of("frame", volume.frame_of_reference_uid),
            str(volume.files),
            volume.irregular or "; ".join(volume.notes),
            *([volume.series_instance_uid] if uids else []),
        ]
        for volume in found.series
    ]
    if rows:
        click.echo(text_table([*head, *(["UID"] if uids else [])], rows=rows, text_columns=len(head) + 1))
    for item in found.refused:
        click.echo(f"refused  {item}")
    click.echo(f"{found.files} files, {len(found.series)} volumes, {len(found.refused)} refused")


@click.command("from-dicom", epilog=FROM_EPILOG)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--rules", type=click.Path(path_type=Path), help="A data list without cases, or with: only its head counts."
)
@click.option(
    "--modality",
    "modalities",
    multiple=True,
    metavar="NAME=DICOM[:WORDS]",
    help="Instead of --rules: a modality, DICOM's word for it, and words of its series; !WORD must not occur.",
)
@click.option("--classes", metavar="LIST", help="With --modality: foreground classes, separated by commas.")
@click.option(
    "--pairing",
    type=click.Choice(get_args(CasePairing)),
    help="How the modalities of a study relate.  [default: as --rules says, else registered]",
)
@irregular_option
@json_option
def from_dicom(
    source: Path,
    out: Path,
    rules: Path | None,
    modalities: tuple[str, ...],
    classes: str | None,
    pairing: CasePairing | None,
    irregular: Literal["refuse", "resample"],
    as_json: bool,
) -> None:
    """Choose the series of every study under SOURCE, and write them as NIfTI with a data list into the new folder OUT.

    One unlabelled case a study, named by a number: no name, date or UID of a patient is in OUT. Rules that leave a
    choice stop the command, with every study in which they do; studies that do not fit are left out and listed.
    """
    from cmc_sdk.training.data.importers.dicom import import_dicom

    chosen = _rules(rules, modalities=modalities, classes=classes, pairing=pairing)
    with progress_bar(quiet=as_json) as progress:
        made = import_dicom(source, out, rules=chosen, irregular=irregular, progress=progress)
    if as_json:
        emit_json(
            {
                "datalist": str(made.path),
                "cases": len(made.datalist.cases),
                "patients": len({case.patient for case in made.datalist.cases}),
                "left_out": list(made.left_out),
                "refused": [str(item) for item in made.refused],
                "notes": list(made.notes),
            }
        )
        return
    for kind, texts in (("left out", made.left_out), ("refused", made.refused), ("note", made.notes)):
        for text in texts:
            click.echo(f"{kind:<8} {text}")
    patients = {case.patient for case in made.datalist.cases}
    click.echo(f"{len(made.datalist.cases)} cases of {len(patients)} patients, unlabelled")
    click.echo(f"written: {made.path}")


@click.command(epilog=ANONYMISE_EPILOG)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@json_option
def anonymise(source: Path, out: Path, as_json: bool) -> None:
    """Write de-identified copies of the DICOM files under SOURCE into the new folder OUT.

    The basic profile of DICOM PS3.15, read strictly: no option of it is used, all private attributes go, and text that
    it does not name is replaced unless it is known to be harmless. New UIDs are the same throughout OUT. Pixels and
    geometry stay bit for bit; what may hold words in its pixels is left out. Look at the pixels before you share them.
    """
    from cmc_sdk.imaging.dicom.deidentify import anonymise_folder

    with progress_bar(quiet=as_json) as progress:
        report = anonymise_folder(source, out, progress=progress)
    if as_json:
        emit_json({"output": str(out), **report.to_dict()})
        return
    actions: dict[str, int] = {}
    for name, count in report.attributes.items():
        action = name.rpartition(": ")[2]
        actions[action] = actions.get(action, 0) + count
    actions["private, removed"] = report.private
    rows = [[action, f"{count:,}"] for action, count in sorted(actions.items())]
    click.echo(text_table(["attributes", ""], rows=rows))
    for reason, count in report.left_out.items():
        click.echo(f"left out {count} files: {reason}")
    for text in report.warnings:
        click.echo(f"warning  {text}")
    click.echo(f"{report.files} files of {report.patients} patients written: {out}")


class _Letters:
    """A, B, C … for values that are equal or not, and must not be shown."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def of(self, kind: str, value: str) -> str:
        if not value:
            return "-"
        if (kind, value) not in self._known:
            count = sum(key[0] == kind for key in self._known)
            self._known[kind, value] = chr(ord("A") + count) if count < 26 else str(count + 1)
        return self._known[kind, value]


def _scan_document(found: DicomScan) -> dict[str, object]:
    letters = _Letters()
    return {
        "path": str(found.path),
        "files": found.files,
        "volumes": [_volume_document(volume, letters) for volume in found.series],
        "refused": [
            {
                "name": item.name,
                "what": item.what,
                "mend": item.mend,
                "files": item.files,
                "series_instance_uid": item.series_instance_uid,
            }
            for item in found.refused
        ],
    }


def _volume_document(volume: SeriesVolume, letters: _Letters) -> dict[str, object]:
    return {
        "series_instance_uid": volume.series_instance_uid,
        "name": volume.name,
        "series_number": volume.words.series_number,
        "series_description": volume.words.series_description,
        "protocol_name": volume.words.protocol_name,
        "modality": volume.modality,
        "image_type": list(volume.words.image_type),
        "size_vox": list(volume.size_vox),
        "spacing_mm": list(volume.spacing_mm),
        "affine_mm": [list(row) for row in volume.affine_mm],
        "orientation": volume.orientation,
        "b_value": volume.b_value,
        "echo_time_ms": volume.echo_time_ms,
        "contrast": bool(volume.words.contrast_agent.strip()),
        "patient": letters.of("patient", volume.patient_key),
        "study": letters.of("study", volume.study_instance_uid),
        "frame_of_reference": letters.of("frame", volume.frame_of_reference_uid),
        "irregular": volume.irregular,
        "gaps": sorted(volume.gaps),
        "files": volume.files,
        "bytes": volume.voxel_bytes,
        "notes": list(volume.notes),
    }


def _rules(
    file: Path | None,
    *,
    modalities: tuple[str, ...],
    classes: str | None,
    pairing: CasePairing | None,
) -> StudyRules:
    from cmc_sdk.training.data.importers.dicom import checked_rules, load_study_rules

    if file is not None:
        if modalities or classes:
            raise InputError("--rules and --modality or --classes were both given", mend="say it in one place")
        rules = load_study_rules(file)
        return rules if pairing is None else rules.model_copy(update={"pairing": pairing})
    if not modalities or not classes:
        raise InputError(
            "nothing says what to look for", mend="give --rules FILE, or --modality NAME=DICOM:WORDS and --classes LIST"
        )
    document = {
        "modalities": [_modality(word) for word in modalities],
        "classes": [name.strip() for name in classes.split(",") if name.strip()],
        "pairing": pairing or "registered",
    }
    return checked_rules(document, what="--modality")


def _modality(text: str) -> dict[str, object]:
    name, equals, rest = text.partition("=")
    kind, _, words = rest.partition(":")
    if not (name and equals and kind):
        raise InputError(
            f"--modality {text!r} does not say what it is", mend="write NAME=DICOM or NAME=DICOM:WORD,!WORD"
        )
    parts = [word.strip() for word in words.split(",") if word.strip()]
    series = {
        "words": [word for word in parts if not word.startswith("!")],
        "without": [word[1:] for word in parts if word.startswith("!")],
    }
    return {"name": name, "dicom_modality": kind, "series": series}
