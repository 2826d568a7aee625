"""The files that a result can become, and whether a scan allows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.errors import InputError
from cmc_sdk.imaging.dicom.source import dicom_source
from cmc_sdk.imaging.nifti import write_volume
from cmc_sdk.imaging.volume import Volume

if TYPE_CHECKING:
    from cmc_sdk.imaging.dicom.writing.algorithm import AlgorithmIdentity
    from cmc_sdk.runtime.results.result import Result

__all__ = ["Format", "check_sources", "parse_formats", "write_files"]

Format = Literal["nifti", "dicom-seg", "dicom-labelmap", "rtstruct", "sr"]
FORMATS: tuple[Format, ...] = get_args(Format)


def parse_formats(text: str) -> tuple[Format, ...]:
    """The formats in a comma list, in their own order and once each.

    Raises:
        InputError: None, or one that is unknown.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in FORMATS:
            raise InputError(f"format {word!r} is unknown", mend=f"give one or more of {','.join(FORMATS)}")
    if not words:
        raise InputError("no format was given", mend=f"give one or more of {','.join(FORMATS)}")
    return tuple(item for item in FORMATS if item in words)


def check_sources(volumes: Mapping[str, Volume], *, formats: Sequence[Format]) -> None:
    """Refuse DICOM files for scans that no DICOM object could refer to, before anything runs.

    Raises:
        InputError: A scan does not come from DICOM, or its series names no frame of reference.
    """
    asked = [item for item in formats if item != "nifti"]
    if not asked:
        return
    for name, volume in volumes.items():
        if dicom_source(volume) is None:
            raise InputError(
                f"--format {','.join(asked)}: the scan {name} is not DICOM, so there are no frames to refer to",
                mend="give the DICOM series or study, or write nifti alone",
            )
        if not volume.frame_of_reference_uid:
            raise InputError(
                f"--format {','.join(asked)}: the series of {name} names no frame of reference",
                mend="write nifti alone, or have the archive send the series with its Frame of Reference UID",
            )


def write_files(
    result: Result,
    *,
    folder: Path,
    spec: ModelSpec,
    formats: Sequence[Format],
    algorithm: AlgorithmIdentity | None,
    record: Mapping[str, Any],
) -> dict[str, str]:
    """Write every modality's labels in every format into `folder`, and return the files' names by what they are.

    Raises:
        GeometryError: A DICOM object does not hold the labels where they lie.
        InputError: As `check_sources`.
    """
    names: dict[str, str] = {}
    for modality, labels in result.labels.items():
        confidence = result.confidence[modality]
        if "nifti" in formats:
            for kind, volume in (("labels", labels), ("confidence", confidence)):
                names[f"{kind}_{modality}"] = f"{kind}_{modality}.nii.gz"
                write_volume(volume, folder / names[f"{kind}_{modality}"])
        if any(item != "nifti" for item in formats) and algorithm is not None:
            names |= _write_dicom(
                modality, result, folder=folder, spec=spec, formats=formats, algorithm=algorithm, record=record
            )
    return names


def _write_dicom(
    modality: str,
    result: Result,
    *,
    folder: Path,
    spec: ModelSpec,
    formats: Sequence[Format],
    algorithm: AlgorithmIdentity,
    record: Mapping[str, Any],
) -> dict[str, str]:
    from cmc_sdk.imaging.dicom.quiet import quiet_pydicom
    from cmc_sdk.imaging.dicom.writing.measurement_report import write_measurement_report
    from cmc_sdk.imaging.dicom.writing.segmentation import write_segmentation
    from cmc_sdk.imaging.dicom.writing.structure_set import write_structure_set

    labels, confidence = result.labels[modality], result.confidence[modality]
    shares = Volume(confidence.stored, confidence.affine_mm, slope=1 / 255, name=confidence.name)
    names: dict[str, str] = {}
    segmentation: Path | None = None
    with quiet_pydicom():
        for kind, word in (("binary", "dicom-seg"), ("labelmap", "dicom-labelmap")):
            if word not in formats:
                continue
            key = word.removeprefix("dicom-")
            names[f"{key}_{modality}"] = f"labels_{modality}.{key}.dcm"
            path = folder / names[f"{key}_{modality}"]
            write_segmentation(
                labels,
                path=path,
                classes=spec.classes,
                algorithm=algorithm,
                confidence=shares,
                kind=cast("Literal['binary', 'labelmap']", kind),
                record=record,
            )
            segmentation = segmentation or path
        if "rtstruct" in formats:
            names[f"rtstruct_{modality}"] = f"labels_{modality}.rtstruct.dcm"
            path = folder / names[f"rtstruct_{modality}"]
            write_structure_set(labels, path=path, classes=spec.classes, algorithm=algorithm, record=record)
        if "sr" in formats:
            names[f"sr_{modality}"] = f"volumes_{modality}.sr.dcm"
            write_measurement_report(
                labels,
                path=folder / names[f"sr_{modality}"],
                classes=spec.classes,
                volumes_ml=result.volumes_ml[modality],
                algorithm=algorithm,
                segmentation=segmentation,
                record=record,
            )
    return names
