"""What is wrong with a data list, files included: everything at once, so that one round of repairs is enough."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from cmc_sdk.errors import CmcError, GeometryError
from cmc_sdk.imaging.geometry import check_overlap
from cmc_sdk.imaging.nifti import read_nifti
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.progress import Progress
from cmc_sdk.training.data.datalist import Case, Datalist
from cmc_sdk.training.data.label_values import allowed_values, class_counts, describe_grid, values_outside
from cmc_sdk.training.data.structure import Fault, structural_faults
from cmc_sdk.training.data.values import foreground_fault, hounsfield_fault

__all__ = ["check_datalist"]

_LEAST_AGREEMENT = 0.5  # Dice of the two modalities' foregrounds below which "registered" is hard to believe


def check_datalist(datalist: Datalist, *, progress: Progress | None = None) -> list[Fault]:
    """Read every image and every label that training would read, and name all faults.

    Labels of unlabelled cases are not opened.

    Args:
        datalist: With absolute paths, as `load_datalist` gives it.
        progress: Called with ("checking", done, total) per case.

    Returns:
        Faults of the whole list first, then case by case; an empty list if there is nothing to say.
    """
    faults = structural_faults(datalist)
    hashes: dict[str, list[tuple[Case, str]]] = defaultdict(list)
    counts = np.zeros(256, dtype=np.int64)
    for done, case in enumerate(datalist.cases):
        for name, path in case.images.items():
            if path.is_file():
                hashes[_sha256(path)].append((case, name))
        check = _CaseCheck(case, datalist)
        faults += check.faults()
        if case.split == "labelled":
            counts += check.counts
        if progress is not None:
            progress("checking", done + 1, len(datalist.cases))
    order = {case.case: place for place, case in enumerate(datalist.cases)}
    faults = [*_duplicates(hashes), *_never_labelled(datalist, counts), *faults]
    return sorted(faults, key=lambda fault: order.get(fault.case, -1))


class _CaseCheck:
    """One case's volumes, looked at one after another; `counts` adds up label voxels of all its modalities."""

    def __init__(self, case: Case, datalist: Datalist) -> None:
        self._case, self._datalist = case, datalist
        self._labelled = case.split != "unlabelled"
        self.counts = np.zeros(256, dtype=np.int64)

    def faults(self) -> list[Fault]:
        faults: list[Fault] = []
        images: dict[str, Volume] = {}
        labels: dict[str, Volume] = {}
        for name, path in self._case.images.items():
            image = self._read(path, faults, label=False)
            if image is not None:
                faults += self._image(image, name)
                # Only the grid is needed from here on: the voxels of one modality are in memory at a time.
                images[name] = image.with_array(np.broadcast_to(np.uint8(0), image.size_vox))
            if not self._labelled or name not in self._case.labels:
                continue
            label = self._read(self._case.labels[name], faults, label=True)
            if label is not None:
                faults += self._label(label, image, name)
                labels[name] = label
        if self._datalist.pairing != "unpaired":
            faults += [*self._pairs(images), *self._agreement(labels)]
        return faults

    def _read(self, path: Path, faults: list[Fault], *, label: bool) -> Volume | None:
        if not path.is_file():
            return None  # named by the structural faults
        try:
            volume = read_nifti(path, label=label)
        except CmcError as error:
            code = "geometry" if isinstance(error, GeometryError) else "label-values" if label else "unreadable"
            faults.append(self._fault(code, error.what, error.mend))
            return None
        faults += [
            self._fault("geometry", f"{path}: {note}", "check it in a viewer", warn=True) for note in volume.notes
        ]
        return volume

    def _image(self, image: Volume, modality: str) -> Iterator[Fault]:
        values = image.data
        low, high = float(values.min()), float(values.max())
        if low == high:
            yield self._fault(
                "constant-image", f"{image.name}: every voxel is {low:g}", "replace the image or drop the case"
            )
            return
        rule = {item.name: item for item in self._datalist.modalities}[modality].intensity
        if rule.unit == "HU":
            found = hounsfield_fault(values, low=low, high=high)
            if found is not None:
                yield self._fault("unit", f"{image.name}: {found.message}", found.mend, warn=found.unsure)
        found = foreground_fault(image, values, rule=rule)
        if found is not None:
            yield self._fault("foreground", f"{image.name}: {found.message}", found.mend, warn=found.unsure)

    def _label(self, label: Volume, image: Volume | None, modality: str) -> Iterator[Fault]:
        if image is not None and not label.same_grid(image):
            yield self._fault(
                "grid-differs",
                f"{label.name}: its grid ({describe_grid(label)}) is not that of its image ({describe_grid(image)})",
                "resample the label onto its image's grid",
            )
        counts = class_counts(label)
        self.counts += counts
        outside = values_outside(counts, classes=self._datalist.classes)
        if outside:
            yield self._fault(
                "label-outside-table",
                f"{label.name}: values {', '.join(map(str, outside))} are not in the class table "
                f"({allowed_values(self._datalist.classes)})",
                "add the classes to the data list or remap the label",
            )
        if not counts[1:].any():
            training = self._case.split == "labelled"
            yield self._fault(
                "empty-label",
                f"{label.name}: no voxel of any class in {modality}",
                "correct the label, or move the case to split unlabelled" if training else "check that this is meant",
                warn=not training,
            )

    def _pairs(self, images: dict[str, Volume]) -> Iterator[Fault]:
        for first, second in combinations(images, 2):
            try:
                check_overlap({first: images[first], second: images[second]})
            except CmcError as error:
                yield self._fault("no-overlap", error.what, error.mend or "give `pairing: unpaired`")
                continue
            if self._datalist.pairing == "registered" and not images[first].same_grid(images[second]):
                yield self._fault(
                    "grids-of-pair-differ",
                    f"registered, but {first} ({describe_grid(images[first])}) and {second} "
                    f"({describe_grid(images[second])}) are on different grids",
                    "nothing, if they share one frame of reference: `cmc infer` then needs --pairing registered",
                    warn=True,
                )

    def _agreement(self, labels: dict[str, Volume]) -> Iterator[Fault]:
        if self._datalist.pairing != "registered":
            return
        for first, second in combinations(labels, 2):
            if not labels[first].same_grid(labels[second]):
                continue
            a, b = labels[first].stored > 0, labels[second].stored > 0
            total = int(a.sum()) + int(b.sum())
            dice = 2 * int((a & b).sum()) / total if total else 1.0
            if dice < _LEAST_AGREEMENT:
                yield self._fault(
                    "labels-disagree",
                    f"registered, but the labels of {first} and {second} overlap with a Dice of {dice:.2f} only",
                    "correct the registration, or give `pairing: misaligned`",
                    warn=True,
                )

    def _fault(self, code: str, message: str, mend: str, *, warn: bool = False) -> Fault:
        return Fault(code, self._case.case, message, mend, "warning" if warn else "error")


def _duplicates(hashes: dict[str, list[tuple[Case, str]]]) -> Iterator[Fault]:
    for places in hashes.values():
        if len(places) > 1:
            where = ", ".join(f"{case.case} ({name}, {case.split})" for case, name in places)
            yield Fault(
                "duplicate-image", "", f"the same image stands in {where}", "keep it once, in one split and modality"
            )


def _never_labelled(datalist: Datalist, counts: np.ndarray) -> Iterator[Fault]:
    if not counts.any():
        return
    for item in datalist.classes.classes:
        if counts[list(item.stored_values)].sum() == 0:
            yield Fault(
                "class-never-labelled", "", f"class {item.name!r} occurs in no labelled case",
                "label it in at least one, or leave it out of the table", "warning",
            )  # fmt: skip


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
