"""One series of a study for each modality: chosen by rules, explained, and never guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cmc_sdk.errors import DataError, InputError
from cmc_sdk.imaging.dicom.choosing.matching import Rule, rejection

if TYPE_CHECKING:
    from cmc_sdk.imaging.dicom.reading.scan import DicomScan
    from cmc_sdk.imaging.dicom.reading.series import SeriesVolume
    from cmc_sdk.imaging.dicom.refusal import Refusal

__all__ = ["AmbiguousSeriesError", "Rejected", "Selection", "Wanted", "select_series", "volume_key"]


@dataclass(frozen=True)
class Wanted:
    """What one modality asks for.

    Args:
        name: The modality's name in the bundle or data list.
        dicom_modality: DICOM's word; `OT` for any.
        rule: What the series must be like; None: anything.
    """

    name: str
    dicom_modality: str
    rule: Rule | None = None


@dataclass(frozen=True)
class Rejected:
    """A volume that was not chosen for a modality, and the reason as one clause."""

    modality: str
    volume: SeriesVolume
    reason: str


@dataclass(frozen=True)
class Selection:
    """What was chosen, and what was not.

    Args:
        chosen: By modality; one for which nothing fits is missing.
        rejected: Every other volume for every modality, with its reason.
        refused: What the scan could not make a volume of.
        notes: What the user should know of the choice: a modality without a series, one forced against its rule, two
            that are in different frames of reference.
    """

    chosen: dict[str, SeriesVolume]
    rejected: tuple[Rejected, ...]
    refused: tuple[Refusal, ...]
    notes: tuple[str, ...]


class AmbiguousSeriesError(DataError):
    """More than one series fits a modality, or one series fits two."""


def select_series(
    scan: DicomScan, *, wanted: Sequence[Wanted], reference: str, decided: Mapping[str, str] | None = None
) -> Selection:
    """Choose one volume per modality.

    A volume fits if the modality's rule holds for it. Where one of the reference modality is chosen, volumes of another
    patient never fit the other modalities, and of those that fit, one in the reference's frame of reference is
    preferred to one in another, which is chosen only where there is none, and said to be so.

    Args:
        scan: What was found.
        wanted: One per modality, in the network's order.
        reference: The modality that is chosen first: the others must be of its patient. Where nothing fits it, the
            first one for which something does.
        decided: By modality, the series that the user names: a Series Instance UID or a series number, followed by
            ":" and the volume's name where the series holds several. Its rule is then not asked; a breach is noted.

    Raises:
        AmbiguousSeriesError: Several volumes fit a modality (they are listed with their UIDs), or one fits two.
        InputError: `decided` names a modality or a series that is not there.
        DataError: Nothing fits any modality.
    """
    decided = dict(decided or {})
    names = [item.name for item in wanted]
    for name in decided:
        if name not in names:
            raise InputError(
                f"--series {name}: there is no modality {name!r}, only {', '.join(names)}", mend="name one"
            )
    order = sorted(wanted, key=lambda item: (item.name != reference, names.index(item.name)))
    chosen: dict[str, SeriesVolume] = {}
    rejected: list[Rejected] = []
    notes: list[str] = []
    anchor: SeriesVolume | None = None
    for item in order:
        fitting: list[SeriesVolume] = []
        for volume in scan.series:
            reason = _reason(volume, item=item, decided=decided.get(item.name), anchor=anchor)
            if reason is None:
                fitting.append(volume)
            else:
                rejected.append(Rejected(item.name, volume, reason))
        if item.name in decided:
            notes += _decided_notes(fitting, item=item, key=decided[item.name], scan=scan, anchor=anchor)
        else:
            fitting, beside = _prefer_frame(fitting, anchor=anchor)
            rejected += [
                Rejected(item.name, volume, "it is in another frame of reference than one that fits as well")
                for volume in beside
            ]
        if len(fitting) > 1:
            raise _ambiguous(item.name, fitting)
        if fitting:
            chosen[item.name] = fitting[0]
            anchor = anchor or fitting[0]
        else:
            notes.append(f"{item.name}: no series fits, so it is taken as absent")
    _check_shared(chosen)
    if not chosen:
        raise DataError(
            f"{scan.path}: no series fits {' or '.join(names)}: {_reasons(rejected, scan)}", mend=_mend(names)
        )
    notes += _frame_notes(chosen)
    ordered = {name: chosen[name] for name in names if name in chosen}
    return Selection(ordered, tuple(rejected), scan.refused, tuple(notes))


def volume_key(volume: SeriesVolume) -> str:
    """What to write after `--series MODALITY=` to mean this volume."""
    return f"{volume.series_instance_uid}:{volume.name}" if volume.name else volume.series_instance_uid


def _reason(volume: SeriesVolume, *, item: Wanted, decided: str | None, anchor: SeriesVolume | None) -> str | None:
    if decided is not None and _is_named(volume, decided):
        return None
    reason = rejection(volume, dicom_modality=item.dicom_modality, rule=item.rule)
    if decided is not None:
        return reason or "another was named by --series"
    if reason is None and anchor is not None and volume.patient_key != anchor.patient_key:
        return "it is of another patient than the series that was chosen first"
    return reason


def _is_named(volume: SeriesVolume, key: str) -> bool:
    series, _, name = key.partition(":")
    return series in {volume.series_instance_uid, str(volume.words.series_number)} and name in {"", volume.name}


def _decided_notes(
    fitting: Sequence[SeriesVolume], *, item: Wanted, key: str, scan: DicomScan, anchor: SeriesVolume | None
) -> list[str]:
    if not fitting:
        refused = [entry for entry in scan.refused if key.partition(":")[0] == entry.series_instance_uid]
        if refused:
            raise DataError(f"--series {item.name}={key}: {refused[0]}")
        raise InputError(
            f"--series {item.name}={key}: the study holds no such series",
            mend="`cmc data scan DIR --uids` lists what it holds",
        )
    if anchor is not None and any(volume.patient_key != anchor.patient_key for volume in fitting):
        raise InputError(
            f"--series {item.name}={key}: it is of another patient than the series that was chosen first",
            mend="name series of one patient",
        )
    reasons = {rejection(volume, dicom_modality=item.dicom_modality, rule=item.rule) for volume in fitting} - {None}
    return [f"{item.name}: named by --series, although {reason}" for reason in sorted(map(str, reasons))]


def _prefer_frame(
    fitting: list[SeriesVolume], *, anchor: SeriesVolume | None
) -> tuple[list[SeriesVolume], list[SeriesVolume]]:
    if anchor is None or not anchor.frame_of_reference_uid:
        return fitting, []
    inside = [item for item in fitting if item.frame_of_reference_uid == anchor.frame_of_reference_uid]
    return (inside, [item for item in fitting if item not in inside]) if inside else (fitting, [])


def _check_shared(chosen: Mapping[str, SeriesVolume]) -> None:
    names = list(chosen)
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            if chosen[name] is chosen[other]:
                raise AmbiguousSeriesError(
                    f"{chosen[name].label} fits both {name} and {other}",
                    mend=f"tell them apart in the data list, or by --series {name}=UID --series {other}=UID",
                )


def _ambiguous(name: str, fitting: Sequence[SeriesVolume]) -> AmbiguousSeriesError:
    listed = "; ".join(f"{volume.label} ({_shape(volume)}) {volume_key(volume)}" for volume in fitting[:12])
    return AmbiguousSeriesError(
        f"{len(fitting)} series fit {name}: {listed}{'; …' if len(fitting) > 12 else ''}",
        mend=f"say which with --series {name}=UID",
    )


def _shape(volume: SeriesVolume) -> str:
    return f"{'×'.join(map(str, volume.size_vox))}, {volume.orientation}"


def _frame_notes(chosen: Mapping[str, SeriesVolume]) -> list[str]:
    frames = {volume.frame_of_reference_uid for volume in chosen.values()}
    if len(chosen) < 2 or (len(frames) == 1 and "" not in frames):
        return []
    why = "their headers name no frame of reference" if "" in frames else "they are in different frames of reference"
    return [f"{' and '.join(chosen)} are not paired: {why}, so each is labelled alone"]


def _reasons(rejected: Sequence[Rejected], scan: DicomScan) -> str:
    told = [f"{item.volume.label} for {item.modality}: {item.reason}" for item in rejected[:8]]
    told += [str(item.name) + ": " + item.what for item in scan.refused[: max(0, 4 - len(told))]]
    return ("; ".join(told) or "it holds no series") + (" …" if len(rejected) > 8 else "")


def _mend(names: Sequence[str]) -> str:
    return f"name one with --series {names[0]}=UID; `cmc data scan DIR` lists what there is"
