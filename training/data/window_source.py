"""Windows for training: which case, where, how augmented, each draw a function of (seed, step, sample, purpose)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from monai.data.dataset import CacheDataset, Dataset

from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.errors import CmcError, ConfigError, DataError
from cmc_sdk.progress import Progress
from cmc_sdk.training.data.batch import Batch
from cmc_sdk.training.data.config import DataConfig
from cmc_sdk.training.data.datalist import Case, Datalist, Split
from cmc_sdk.training.data.intensity_augmentation import draw_intensity
from cmc_sdk.training.data.laterality import unmarked_lateral
from cmc_sdk.training.data.placement import Placement, place
from cmc_sdk.training.data.randomness import random_generator
from cmc_sdk.training.data.scans import LoadScan, Scan, ScanFile
from cmc_sdk.training.data.spatial import draw_spatial
from cmc_sdk.training.data.structure import structural_faults
from cmc_sdk.training.data.transforms import WindowJob, window_transform

__all__ = ["WindowSource"]


@dataclass(frozen=True)
class _Cut:
    """One window of one modality."""

    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.int64] | None
    body: npt.NDArray[np.float64]
    case: str


class WindowSource:
    """Endless batches of windows from one split of a data list.

    Args:
        datalist: With absolute paths, as `load_datalist` gives it.
        split: `labelled` (or another labelled split) yields labels; for `unlabelled` no mask is ever opened.
        config: Windows and augmentation.
        spec: Modalities, classes, grid and window.
        seed: The run's seed.
        progress: Called with ("reading", done, total) while scans are loaded into memory.

    Raises:
        ConfigError: Settings that contradict the data list: world windows of unpaired data, flips with lateral classes
            that have no mirror.
        DataError: The split is empty, or the list has faults (all of them are named).
    """

    def __init__(
        self,
        datalist: Datalist,
        *,
        split: Split,
        config: DataConfig,
        spec: ModelSpec,
        seed: int,
        progress: Progress | None = None,
    ) -> None:
        self._check(datalist, split, config, spec)
        self._config, self._spec, self._split, self._seed = config, spec, split, seed
        self._pairing = config.pairing or ("body" if datalist.pairing == "unpaired" else "world")
        self._mirror = np.asarray(spec.classes.mirror_permutation(), dtype=np.int64)
        self._with_labels = split != "unlabelled"
        self._scans = _Scans(datalist.split(split), spec=spec, with_labels=self._with_labels, cache=config.cache,
                             progress=progress)  # fmt: skip
        # Unpaired: each modality walks through its own cases. Else whole cases are drawn.
        unpaired = datalist.pairing == "unpaired"
        groups: list[tuple[str, ...]] = [(name,) for name in spec.names] if unpaired else [spec.names]
        self._groups = [
            (names, [case for case in datalist.split(split) if any(name in case.images for name in names)])
            for names in groups
        ]
        empty = [names[0] for names, cases in self._groups if not cases]
        if empty:
            raise DataError(
                f"data list {datalist.name}: split {split} has no image of {', '.join(empty)}",
                mend="add cases, or leave the modality out of the list",
            )

    def batch(self, step: int, *, size: int, samples: Sequence[int] | None = None) -> Batch:
        """The batch of one step.

        Args:
            step: Optimiser step.
            size: Samples in the whole batch, over all processes.
            samples: Which of them to cut here; None for all. Processes that share a step take disjoint parts.

        Returns:
            Equal tensors whenever seed, step, size and sample are equal, in whatever order batches are asked for.
        """
        chosen = range(size) if samples is None else samples
        return self._collate([self._sample(step, sample, size) for sample in chosen])

    def _sample(self, step: int, sample: int, size: int) -> dict[str, _Cut]:
        scans: dict[str, Scan] = {}
        for names, cases in self._groups:
            case = self._draw_case(names, cases, step * size + sample)
            scans.update({name: self._scans.get(case, name) for name in names if name in case.images})
        spatial = draw_spatial(self._config.spatial, rng=self._rng(step, sample, "spatial"))
        placements = place(
            scans,
            spec=self._spec,
            config=self._config,
            pairing=self._pairing,
            spatial=spatial,
            rng=self._rng(step, sample, "place"),
        )
        return {
            name: self._cut(scans[name], placement, rng=self._rng(step, sample, f"intensity/{name}"))
            for name, placement in placements.items()
        }

    def _draw_case(self, names: tuple[str, ...], cases: list[Case], position: int) -> Case:
        """Every case once per pass, in an order drawn for the pass."""
        turn, place_in_turn = divmod(position, len(cases))
        order = self._rng(turn, 0, f"order/{'+'.join(names)}").permutation(len(cases))
        return cases[int(order[place_in_turn])]

    def _cut(self, scan: Scan, placement: Placement, *, rng: np.random.Generator) -> _Cut:
        rule = self._spec.modality(scan.file.modality).intensity
        job = window_transform(
            WindowJob(
                scan=scan,
                rule=rule,
                affine_mm=placement.affine_mm,
                size_vox=self._spec.grid.window_vox,
                intensity=draw_intensity(self._config.intensity, rng=rng),
            )
        )
        if job.image is None:
            raise RuntimeError("the window pipeline returned no image")
        label = None
        if job.label is not None:
            label = self._mirror[job.label] if placement.flip else job.label.astype(np.int64)
        return _Cut(image=job.image, label=label, body=placement.body, case=scan.file.case)

    def _collate(self, samples: list[dict[str, _Cut]]) -> Batch:
        names, window = self._spec.names, self._spec.grid.window_vox
        empty = np.zeros((1, *window), dtype=np.float32)
        no_label, no_body = np.zeros(window, dtype=np.int64), np.zeros((3, 4))
        images, labels, body = {}, {}, {}
        for name in names:
            cuts = [sample.get(name) for sample in samples]
            images[name] = _stack([empty if cut is None else cut.image for cut in cuts])
            body[name] = _stack([no_body if cut is None else cut.body for cut in cuts]).float()
            if self._with_labels:
                labels[name] = _stack([no_label if cut is None or cut.label is None else cut.label for cut in cuts])
        presence = torch.tensor([[name in sample for name in names] for sample in samples], dtype=torch.bool)
        cases = tuple("+".join(dict.fromkeys(cut.case for cut in sample.values())) for sample in samples)
        return Batch(images=images, labels=labels, presence=presence, body=body, cases=cases)

    def _rng(self, step: int, sample: int, purpose: str) -> np.random.Generator:
        return random_generator(self._seed, step=step, sample=sample, purpose=f"{self._split}/{purpose}")

    @staticmethod
    def _check(datalist: Datalist, split: Split, config: DataConfig, spec: ModelSpec) -> None:
        if config.pairing == "world" and datalist.pairing == "unpaired":
            raise ConfigError(
                f"data.pairing: world, but data list {datalist.name} is unpaired: its modalities share no frame",
                mend="leave data.pairing out, or give `body`",
            )
        lateral = unmarked_lateral(spec.classes)
        if config.spatial.flip_probability > 0 and lateral:
            raise ConfigError(
                f"data.spatial.flip_probability > 0, but the lateral classes {', '.join(lateral)} have no mirror",
                mend="mark each with `mirror: <the other side>` in the data list, or set flip_probability: 0",
            )
        if not datalist.split(split):
            raise DataError(f"data list {datalist.name} has no case in split {split}", mend="add cases to it")
        errors = [fault for fault in structural_faults(datalist) if fault.severity == "error"]
        if errors:
            text = "; ".join(f"{fault.case}: {fault.message}" if fault.case else fault.message for fault in errors)
            raise DataError(f"data list {datalist.name}: {text}", mend="run `cmc data check` on it")


class _Scans:
    """The scans of a split through MONAI's datasets: kept in memory, or read at each use."""

    def __init__(
        self, cases: Sequence[Case], *, spec: ModelSpec, with_labels: bool, cache: bool, progress: Progress | None
    ) -> None:
        files = [
            ScanFile(
                case=case.case,
                modality=name,
                image=case.images[name],
                label=case.labels.get(name) if with_labels else None,
            )
            for case in cases
            for name in spec.names
            if name in case.images
        ]
        self._index: Mapping[tuple[str, str], int] = {
            (file.case, file.modality): index for index, file in enumerate(files)
        }
        load = LoadScan(spec)
        self._dataset: Dataset
        if not cache:
            self._dataset = Dataset(files, transform=load)
            return
        self._dataset = CacheDataset(
            files, transform=load, progress=False, copy_cache=False, runtime_cache=True, num_workers=None
        )
        for index in range(len(files)):
            with _own_errors():
                self._dataset[index]
            if progress is not None:
                progress("reading", index + 1, len(files))

    def get(self, case: Case, modality: str) -> Scan:
        """One scan."""
        with _own_errors():
            scan: Scan = self._dataset[self._index[case.case, modality]]
        return scan


@contextmanager
def _own_errors() -> Iterator[None]:
    """MONAI wraps what a transform raises; give our own errors back as they were."""
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, CmcError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from error


def _stack(arrays: Sequence[npt.NDArray[np.generic]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays))
