"""An nnU-Net raw data set folder: `imagesTr/CASE_0000.nii.gz`, `labelsTr/CASE.nii.gz`, `dataset.json`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from cmc_sdk.errors import DataError
from cmc_sdk.training.data.datalist import Case, Datalist, Split
from cmc_sdk.training.data.documents import read_document
from cmc_sdk.training.data.importers.common import Shares, assign_splits, channel_words, class_table, modality_spec

__all__ = ["import_nnunet"]


def import_nnunet(
    source: str | os.PathLike[str],
    *,
    shares: Shares | None = None,
    pairing: Literal["registered", "misaligned"] = "registered",
) -> Datalist:
    """Read an nnU-Net raw data set, of version 1 (`modality`) or 2 (`channel_names`).

    Cases of `imagesTr` with a label in `labelsTr` are labelled (see `shares`), those without are unlabelled; cases of
    `imagesTs` test where `labelsTs` has a label, else they are unlabelled. One label serves all channels.

    Args:
        source: The data set's folder, or its `dataset.json`.
        shares: How many of the labelled cases validate, test and keep their labels; None keeps all for training.
        pairing: How the channels relate; nnU-Net itself asks for registered ones.

    Raises:
        DataError: Missing, not this layout, regions, an ignore label, or another file format than NIfTI.
    """
    given = Path(source)
    folder = (given if given.is_dir() else given.parent).resolve()
    file = folder / "dataset.json"
    document = read_document(file, what="nnU-Net list")
    channels = document.get("channel_names", document.get("modality"))
    if not isinstance(channels, dict) or not channels:
        raise DataError(f'{file}: neither "channel_names" nor "modality"', mend="give an nnU-Net raw data set")
    ending = str(document.get("file_ending", ".nii.gz"))
    if ending not in {".nii.gz", ".nii"}:
        raise DataError(f"{file}: files end in {ending}; only NIfTI is read", mend="convert them to .nii.gz")
    specs = tuple(modality_spec(word) for word in channel_words(channels, source=file))
    names = [spec.name for spec in specs]
    cases: list[Case] = []
    parts: tuple[tuple[str, str, Split], ...] = (("imagesTr", "labelsTr", "labelled"), ("imagesTs", "labelsTs", "test"))
    for image_folder, label_folder, with_label in parts:
        for name, images in sorted(_cases(folder / image_folder, names, ending).items()):
            label = folder / label_folder / f"{name}{ending}"
            found = label.is_file()
            cases.append(
                Case(
                    case=name,
                    patient=name,
                    split=with_label if found else "unlabelled",
                    images=images,
                    labels={modality: label for modality in images} if found else {},
                )
            )
    if not cases:
        raise DataError(f"{folder}: imagesTr holds no CASE_0000{ending}", mend="give an nnU-Net raw data set")
    return Datalist(
        name=_name(document, folder),
        modalities=specs,
        classes=class_table(document.get("labels"), source=file),
        pairing=pairing,
        cases=assign_splits(cases, shares=shares or Shares()),
    )


def _cases(folder: Path, names: list[str], ending: str) -> dict[str, dict[str, Path]]:
    cases: dict[str, dict[str, Path]] = {}
    if not folder.is_dir():
        return cases
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(r"(.+)_(\d{4})" + re.escape(ending), path.name)
        if match is None:
            continue
        channel = int(match.group(2))
        if channel >= len(names):
            raise DataError(
                f"{path}: channel {channel}, but dataset.json names {len(names)}", mend="add it to dataset.json"
            )
        cases.setdefault(match.group(1), {})[names[channel]] = path
    return cases


def _name(document: Mapping[str, object], folder: Path) -> str:
    return str(document.get("name") or folder.name)
