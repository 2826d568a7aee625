"""Labelling scans with a network behind a backend: the same code in validation, gate and deployment."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Union

import numpy as np

from cmc_sdk.bundle.manifest import ModelSpec, SeenRange, SubsetScore
from cmc_sdk.errors import DataError, InputError
from cmc_sdk.imaging.nifti import read_volume
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.runtime.backends.protocol import Backend
from cmc_sdk.runtime.core import IntensityStatistics, intensity_statistics
from cmc_sdk.runtime.memory import peak_rss_bytes
from cmc_sdk.runtime.pipeline import Labelled, StageSeconds, label_group
from cmc_sdk.runtime.plan import Group, Pairing, plan_groups
from cmc_sdk.runtime.quality import judge
from cmc_sdk.runtime.record import BundleIdentity, GroupRecord, QualityRecord, RunRecord, input_record
from cmc_sdk.runtime.result import Quality, Result

__all__ = ["Image", "Quality", "Result", "Segmenter"]

Image = Union[Volume, str, "os.PathLike[str]"]


class Segmenter:
    """A network that labels scans by sliding a window.

    Args:
        spec: Modalities, classes and grid.
        backend: Runs the network.
        seen: What validation saw by modality, for the quality flag.
        validated_subsets: Subsets of modalities with a validation score, for the quality flag.
        identity: Which bundle it is, for the record.
        threads: Threads of the backend, for the record.
    """

    def __init__(
        self,
        spec: ModelSpec,
        backend: Backend,
        *,
        seen: Mapping[str, SeenRange] | None = None,
        validated_subsets: Sequence[SubsetScore] = (),
        identity: BundleIdentity | None = None,
        threads: int | None = None,
    ) -> None:
        self.spec = spec
        self.backend = backend
        self._seen = dict(seen or {})
        self._validated = tuple(validated_subsets)
        self._identity = identity
        self._threads = threads

    def infer(
        self,
        images: Mapping[str, Image],
        *,
        pairing: Pairing = "auto",
        batch: int = 1,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Result:
        """Label every scan that is given, each on its own grid.

        Args:
            images: Any non-empty subset of the network's modalities: volumes, or paths of NIfTI files.
            pairing: How scans relate; see `cmc_sdk.runtime.plan.plan_groups`.
            batch: Windows run at once.
            progress: Called with ("windows", done, total).

        Raises:
            InputError: No image, an unknown modality, or a batch below 1.
            DataError: A file cannot be read, or a voxel is not finite.
            GeometryError: Scans said to share a frame do not overlap.
            BackendError: The network failed, or gave values that are not finite.
        """
        self._check(images, batch=batch)
        started, since = datetime.now(timezone.utc), time.perf_counter()
        stages = StageSeconds()
        volumes = {name: _open_image(images[name]) for name in self.spec.names if name in images}
        since = stages.add("read", since)
        statistics = {name: self._statistics(name, volume) for name, volume in volumes.items()}
        since = stages.add("statistics", since)
        groups, warnings = plan_groups(volumes, spec=self.spec, pairing=pairing)
        warnings += tuple(f"{name}: {note}" for name, volume in volumes.items() for note in volume.notes)
        total, labelled, before = sum(len(group.starts) for group in groups), dict[str, Labelled](), 0
        for group in groups:

            def report(done: int, before: int = before) -> None:
                if progress is not None:
                    progress("windows", before + done, total)

            labelled |= label_group(
                group,
                volumes=volumes,
                statistics=statistics,
                spec=self.spec,
                backend=self.backend,
                batch=batch,
                stages=stages,
                progress=report,
            )
            before += len(group.starts)
        since = time.perf_counter()
        volumes_ml = {
            name: {
                item.name: float(labelled[name].counts[item.index]) * volume.voxel_volume_ml
                for item in self.spec.classes.classes
            }
            for name, volume in volumes.items()
        }
        quality = judge(
            spec=self.spec,
            volumes=volumes,
            statistics=statistics,
            labelled=labelled,
            volumes_ml=volumes_ml,
            groups=[group.modalities for group in groups],
            seen=self._seen,
            validated_subsets=self._validated,
        )
        stages.add("quality", since)
        record = self._record(started, volumes, groups, stages, batch, warnings, quality, volumes_ml)
        return Result(
            labels={name: volume.with_array(labelled[name].labels) for name, volume in volumes.items()},
            confidence={name: volume.with_array(labelled[name].confidence) for name, volume in volumes.items()},
            volumes_ml=volumes_ml,
            quality=quality,
            record=record,
        )

    def _check(self, images: Mapping[str, Image], *, batch: int) -> None:
        allowed = ", ".join(self.spec.names)
        if not images:
            raise InputError("no image was given", mend=f"give one or more of {allowed}")
        for name in images:
            if name not in self.spec.names:
                raise InputError(f"modality {name!r} is not one that the network knows", mend=f"give {allowed}")
        if batch < 1:
            raise InputError(f"a batch of {batch} windows is not possible", mend="give 1 or more")

    def _statistics(self, name: str, volume: Volume) -> IntensityStatistics:
        found = intensity_statistics(volume, self.spec.modality(name).intensity)
        if not found.finite:
            bad = int(np.count_nonzero(~np.isfinite(volume.stored)))
            raise DataError(
                f"{name} ({volume.name}) has {bad} voxels that are NaN or infinite",
                mend="repair the scan; none is guessed",
            )
        return found

    def _record(
        self,
        started: datetime,
        volumes: Mapping[str, Volume],
        groups: Sequence[Group],
        stages: StageSeconds,
        batch: int,
        warnings: tuple[str, ...],
        quality: Quality,
        volumes_ml: dict[str, dict[str, float]],
    ) -> RunRecord:
        since = time.perf_counter()
        inputs = {name: input_record(volume) for name, volume in volumes.items()}
        stages.add("hash", since)
        spacing = self.spec.grid.spacing_mm
        return RunRecord(
            time_utc=started.isoformat(timespec="seconds"),
            code_version=version("cmc-sdk"),
            bundle=self._identity,
            backend=self.backend.name,
            precision=self.backend.precision,
            device=platform.processor() or platform.machine(),
            threads=self._threads,
            inputs=inputs,
            presence={name: name in volumes for name in self.spec.names},
            plan=tuple(
                GroupRecord(
                    modalities=group.modalities,
                    grid_size_vox=group.grid.size_vox,
                    grid_spacing_mm=spacing,
                    windows=len(group.starts),
                    ring_axis=group.ring_axis,
                    core_bytes=group.core_bytes,
                )
                for group in groups
            ),
            batch=batch,
            windows_run=stages.windows,
            windows_reused=stages.reused,
            seconds={name: round(seconds, 6) for name, seconds in stages.seconds.items()},
            peak_rss_bytes=peak_rss_bytes(),
            warnings=warnings,
            quality=QualityRecord(status=quality.status, reasons=quality.reasons),
            volumes_ml=volumes_ml,
        )


def _open_image(image: Image) -> Volume:
    return image if isinstance(image, Volume) else read_volume(image)
