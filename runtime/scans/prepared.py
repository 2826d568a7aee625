"""A scan made ready once: its voxels, what one pass over them finds, and the frame that it lies in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cmc_sdk.bundle.manifest import IntensityRule, ModelSpec
from cmc_sdk.errors import DataError, InputError
from cmc_sdk.imaging.dicom.source import dicom_source
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.core import IntensityStatistics, Threads, intensity_statistics

__all__ = ["PreparedScan", "ScanFrame", "prepare_scan", "prepare_scans", "refuse_not_finite"]


@dataclass(frozen=True)
class ScanFrame:
    """Which frame of reference a scan says that it lies in.

    Args:
        nameable: Whether its kind of file can name one: DICOM can, NIfTI cannot.
        uid: The one that it names; None where it names none.
    """

    nameable: bool
    uid: str | None


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """A scan as planning and labelling take it: nothing of it has to be looked for again.

    Args:
        volume: The scan.
        rule: How its modality's intensities are normalised; the statistics are those of this rule.
        statistics: Of its intensities. They may say that a voxel is not finite; see `refuse_not_finite`.
        frame: Where it says that it lies.
    """

    volume: Volume
    rule: IntensityRule
    statistics: IntensityStatistics
    frame: ScanFrame


def prepare_scan(volume: Volume, *, rule: IntensityRule, threads: Threads | None = None) -> PreparedScan:
    """Make one scan ready, in one streaming pass over its voxels.

    Args:
        volume: The scan.
        rule: Of its modality.
        threads: To work on; None: one. What is found does not depend on it.
    """
    return PreparedScan(
        volume=volume,
        rule=rule,
        statistics=intensity_statistics(volume, rule, threads=threads),
        frame=ScanFrame(nameable=dicom_source(volume) is not None, uid=volume.frame_of_reference_uid),
    )


def prepare_scans(
    images: Mapping[str, Volume | PreparedScan], *, spec: ModelSpec, threads: Threads | None = None
) -> dict[str, PreparedScan]:
    """Make ready every scan of a modality of `spec`, in the network's order; one that is ready stays as it is.

    Args:
        images: By modality.
        spec: Of the network: its modalities' rules.
        threads: As of `prepare_scan`.

    Raises:
        InputError: A scan was made ready by another rule than its modality's.
    """
    scans = {}
    for name in spec.names:
        if name not in images:
            continue
        image, rule = images[name], spec.modality(name).intensity
        if isinstance(image, Volume):
            scans[name] = prepare_scan(image, rule=rule, threads=threads)
        elif image.rule == rule:
            scans[name] = image
        else:
            raise InputError(
                f"{name} ({image.volume.name}) was made ready by another intensity rule than the network's",
                mend="give its volume",
            )
    return scans


def refuse_not_finite(scans: Mapping[str, PreparedScan]) -> None:
    """Refuse scans that hold what no network can be given.

    Raises:
        DataError: A voxel is NaN or infinite; says of which scan, and how many.
    """
    for name, scan in scans.items():
        if not scan.statistics.finite:
            bad = int(np.count_nonzero(~np.isfinite(scan.volume.stored)))
            raise DataError(
                f"{name} ({scan.volume.name}) has {bad} voxels that are NaN or infinite",
                mend="repair the scan; none is guessed",
            )
