"""The data list of the authors' released code: one JSON with `img_X` and `mask_X` keys per pair."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cmc_sdk.errors import DataError
from cmc_sdk.pairing import CasePairing
from cmc_sdk.training.data.datalist import Case, Datalist, Split
from cmc_sdk.training.data.documents import read_document
from cmc_sdk.training.data.importers.common import class_table, modality_spec, shared_name, stem

__all__ = ["import_released"]

_SPLITS: tuple[tuple[str, Split], ...] = (
    ("training", "labelled"),
    ("unlabeled_training", "unlabelled"),
    ("validation", "validation"),
    ("testing", "test"),
)


def import_released(source: str | os.PathLike[str], *, pairing: CasePairing = "unpaired") -> Datalist:
    """Read the released code's JSON.

    Masks that it names for `unlabeled_training` are left out. Unpaired (AMOS: an item's CT and MR are two patients),
    each image becomes a case and a patient of its own; else each item is one case.

    Args:
        source: The JSON file; its paths are relative to its folder.
        pairing: How the two images of an item relate; the file does not say.

    Raises:
        DataError: Missing, not JSON, or not this layout.
    """
    file = Path(source)
    document = read_document(file, what="released-code list")
    entries = [(split, item) for key, split in _SPLITS for item in _items(document, key, file)]
    words = list(dict.fromkeys(key[4:] for _, item in entries for key in item if key.startswith("img_")))
    if not words:
        raise DataError(f"{file}: no item has a key img_<modality>", mend="give the released code's data list")
    specs = {word: modality_spec(word) for word in words}
    base = file.resolve().parent
    cases: list[Case] = []
    for split, item in entries:
        images = {specs[word].name: base / item[f"img_{word}"] for word in words if f"img_{word}" in item}
        masks = {specs[word].name: base / item[f"mask_{word}"] for word in words if f"mask_{word}" in item}
        if split == "unlabelled":
            masks = {}
        if not images:
            raise DataError(f"{file}: an item of {split} has no img_ key", mend="correct the item")
        if pairing == "unpaired":
            for name, path in images.items():
                case = stem(path.name)
                labels = {name: masks[name]} if name in masks else {}
                cases.append(Case(case=case, patient=case, split=split, images={name: path}, labels=labels))
        else:
            case = shared_name([stem(path.name) for path in images.values()])
            cases.append(Case(case=case, patient=case, split=split, images=images, labels=masks))
    return Datalist(
        name=stem(file.stem),
        modalities=tuple(specs[word] for word in words),
        classes=class_table(document.get("labels"), source=file),
        pairing=pairing,
        cases=tuple(cases),
    )


def _items(document: Mapping[str, object], key: str, file: Path) -> list[dict[str, str]]:
    items = document.get(key, [])
    if not isinstance(items, list) or not all(
        isinstance(item, dict) and all(isinstance(value, str) for value in item.values()) for item in items
    ):
        raise DataError(
            f'{file}: "{key}" is not a list of mappings of paths', mend="give the released code's data list"
        )
    return items
