"""The Medical Segmentation Decathlon's `dataset.json`, and the lists that MONAI reads in its form."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from cmc_sdk.atomic import atomic_directory
from cmc_sdk.errors import DataError
from cmc_sdk.imaging.nifti import write_volume
from cmc_sdk.imaging.volume import Volume
from cmc_sdk.progress import Progress
from cmc_sdk.training.data.datalist import Case, Datalist, Split
from cmc_sdk.training.data.documents import read_document
from cmc_sdk.training.data.importers.common import (
    Shares,
    assign_splits,
    channel_words,
    class_table,
    modality_spec,
    shared_name,
    stem,
)

__all__ = ["import_decathlon"]


def import_decathlon(
    source: str | os.PathLike[str],
    *,
    shares: Shares | None = None,
    pairing: Literal["registered", "misaligned"] = "registered",
    channels_to: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Datalist:
    """Read a Decathlon `dataset.json`.

    `training` items are labelled (see `shares`), `validation` items validate if they have labels, `test` items, which
    have none, join the unlabelled pool. An image may be one 3-D file, a list of 3-D files in the order of `modality`,
    or one 4-D file, whose channels are written as 3-D files to `channels_to`.

    Args:
        source: The JSON file; its paths are relative to its folder.
        shares: How many of the labelled cases validate, test and keep their labels; None keeps all for training.
        pairing: How the channels of an image relate.
        channels_to: A new folder for the channels of 4-D images.
        progress: Called with ("splitting", done, total) while channels are written.

    Raises:
        DataError: Missing, not JSON, not this layout, an image that cannot be taken apart, or 4-D images without
            `channels_to`.
        InputError: `channels_to` exists already.
    """
    file = Path(source)
    document = read_document(file, what="Decathlon list")
    base = file.resolve().parent
    modality = document.get("modality")
    if not isinstance(modality, dict) or not modality:
        raise DataError(f'{file}: "modality" is not a mapping of channels', mend="give a Decathlon dataset.json")
    specs = tuple(modality_spec(word) for word in channel_words(modality, source=file))
    names = [spec.name for spec in specs]
    entries = [entry for key in ("training", "validation", "test") for entry in _entries(document, key, file)]
    channels = _Channels(base, names, file, channels_to)
    cases = []
    for images, label, split in entries:
        name = shared_name([stem(path) for path in images]) if len(images) > 1 else stem(images[0])
        labels = {} if label is None else {modality_name: base / label for modality_name in names}
        paths = channels.paths(images, name)
        cases.append(Case(case=name, patient=name, split=split, images=paths, labels=labels))
    channels.write(progress)
    return Datalist(
        name=str(document.get("name") or file.parent.name),
        modalities=specs,
        classes=class_table(document.get("labels"), source=file),
        pairing=pairing,
        cases=assign_splits(cases, shares=shares or Shares()),
    )


def _entries(document: Mapping[str, object], key: str, file: Path) -> list[tuple[list[str], str | None, Split]]:
    entries: list[tuple[list[str], str | None, Split]] = []
    items = document.get(key, [])
    if not isinstance(items, list):
        raise DataError(f'{file}: "{key}" is not a list', mend="give a Decathlon dataset.json")
    for item in items:
        image, label = (item, None) if isinstance(item, str) else (_get(item, "image"), _get(item, "label"))
        images = [image] if isinstance(image, str) else image
        if not isinstance(images, list) or not images or not all(isinstance(path, str) for path in images):
            raise DataError(f'{file}: an item of "{key}" has no image path', mend="correct the item")
        if label is None or key == "test":
            entries.append((images, None, "unlabelled"))
        elif isinstance(label, str):
            entries.append((images, label, "labelled" if key == "training" else "validation"))
        else:
            raise DataError(f'{file}: an item of "{key}" has a label that is no path', mend="correct the item")
    return entries


def _get(item: object, key: str) -> object:
    return item.get(key) if isinstance(item, dict) else None


class _Channels:
    """Where each modality's image lies, and the 4-D files that have to be taken apart for it."""

    def __init__(self, base: Path, names: list[str], file: Path, channels_to: str | os.PathLike[str] | None) -> None:
        self._base, self._names, self._file = base, names, file
        self._folder = None if channels_to is None else Path(channels_to).resolve()
        self._jobs: list[tuple[Path, list[str]]] = []

    def paths(self, images: list[str], case: str) -> dict[str, Path]:
        if len(images) == len(self._names):
            return {name: self._base / path for name, path in zip(self._names, images, strict=True)}
        if len(images) != 1:
            raise DataError(
                f"{self._file}: case {case} has {len(images)} images for {len(self._names)} modalities",
                mend="list one image a modality",
            )
        if self._folder is None:
            raise DataError(
                f"{self._file}: its images hold {len(self._names)} modalities in one 4-D file",
                mend="give a new folder to write their channels to (--channels-to DIR)",
            )
        outputs = [f"{case}_{name}.nii.gz" for name in self._names]
        self._jobs.append((self._base / images[0], outputs))
        return {name: self._folder / output for name, output in zip(self._names, outputs, strict=True)}

    def write(self, progress: Progress | None) -> None:
        if self._folder is None or not self._jobs:
            return
        with atomic_directory(self._folder) as folder:
            for done, (path, outputs) in enumerate(self._jobs):
                self._split(path, [folder / output for output in outputs])
                if progress is not None:
                    progress("splitting", done + 1, len(self._jobs))

    def _split(self, path: Path, outputs: list[Path]) -> None:
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import SpatialImage

        try:
            image = nibabel.load(path)
        except (OSError, ImageFileError) as error:
            raise DataError(f"{path} cannot be read: {error}", mend="correct the path or replace the file") from error
        if not isinstance(image, SpatialImage):
            raise DataError(f"{path} holds no voxels", mend="correct the path or replace the file")
        shape = tuple(image.shape)
        if len(shape) != 4 or shape[3] != len(outputs):
            raise DataError(f"{path}: its shape is {shape}, not (X, Y, Z, {len(outputs)})", mend='correct "modality"')
        for channel, output in enumerate(outputs):
            # A slice of the array proxy reads one channel, scaled to true values.
            values = np.asarray(image.dataobj[..., channel], dtype=np.float32)
            write_volume(Volume(values, np.asarray(image.affine, dtype=np.float64), name=str(path)), output)
