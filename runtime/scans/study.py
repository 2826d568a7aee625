"""A DICOM study as the scans that a bundle wants: chosen by its rules, read, and explained."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from cmc_sdk.bundle.manifest import ModalitySpec, ModelSpec
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.progress import Progress

if TYPE_CHECKING:
    from cmc_sdk.imaging.dicom.choosing.selection import Selection, Wanted
    from cmc_sdk.imaging.dicom.reading.scan import DicomScan

__all__ = ["Study", "explain", "open_study", "wanted_of"]


@dataclass(frozen=True)
class Study:
    """Scans of one patient, and how they were chosen.

    Args:
        volumes: By modality; each `header` is a DicomSource.
        selection: What was chosen, what was not, and why.
    """

    volumes: dict[str, Volume]
    selection: Selection


def open_study(
    path: str | os.PathLike[str],
    *,
    spec: ModelSpec,
    series: Mapping[str, str] | None = None,
    irregular: Literal["refuse", "resample"] = "refuse",
    progress: Progress | None = None,
) -> Study:
    """Find the scans that `spec` wants in a folder, DICOMDIR or zip, and read them.

    Args:
        path: The study.
        spec: Of the bundle: names, DICOM modalities and rules.
        series: By modality, a series that the user names instead; see `select_series`.
        irregular: Of missing slices and variable spacing; see `read_series`.
        progress: Called with ("scan", done, total).

    Raises:
        DataError: Nothing fits, more than one series fits, or a chosen one cannot be read.
        InputError: `series` names what is not there.
    """
    from cmc_sdk.imaging.dicom.choosing.selection import select_series
    from cmc_sdk.imaging.dicom.reading.read_series import read_series
    from cmc_sdk.imaging.dicom.reading.scan import scan_dicom

    scan: DicomScan = scan_dicom(path, progress=progress)
    selection = select_series(
        scan, wanted=wanted_of(spec.modalities), reference=spec.reference_modality, decided=series
    )
    volumes = {}
    for name, chosen in selection.chosen.items():
        volume = read_series(chosen, irregular=irregular)
        # A choice against the rule belongs into the record; the record's writer puts the modality before each note.
        forced = tuple(note.removeprefix(f"{name}: ") for note in selection.notes if note.startswith(f"{name}: "))
        volumes[name] = replace(volume, notes=(*forced, *volume.notes))
    return Study(volumes, selection)


def wanted_of(modalities: Sequence[ModalitySpec]) -> tuple[Wanted, ...]:
    """What each modality asks for, in the words of `select_series`."""
    from cmc_sdk.imaging.dicom.choosing.selection import Wanted

    return tuple(Wanted(item.name, item.dicom_modality, item.series) for item in modalities)


def explain(selection: Selection) -> dict[str, Any]:
    """The choice for JSON: chosen, rejected and refused series with UIDs and reasons, and notes.

    It names series as the scanner does; it is for the person who gave the study, not for the record.
    """
    from cmc_sdk.imaging.dicom.choosing.selection import volume_key

    return {
        "chosen": {
            name: {"series": volume_key(volume), "label": volume.label} for name, volume in selection.chosen.items()
        },
        "rejected": [
            {
                "modality": item.modality,
                "series": volume_key(item.volume),
                "label": item.volume.label,
                "reason": item.reason,
            }
            for item in selection.rejected
        ],
        "refused": [
            {"name": item.name, "series": item.series_instance_uid, "what": item.what, "mend": item.mend}
            for item in selection.refused
        ],
        "notes": list(selection.notes),
    }
