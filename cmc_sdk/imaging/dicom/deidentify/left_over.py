"""The last look: is a value that was taken out of a file still among its bytes?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cmc_sdk.errors import DataError
from cmc_sdk.imaging.dicom.deidentify.vocabulary import CODED_WORDS, MAKERS, is_standard_uid

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

__all__ = ["check_nothing_left", "identifying_values"]

# Shorter ones stand in any text by chance, and so do numbers.
_LEAST = 6
_UID = re.compile(r"[0-9.]+")
_VRS = {"PN", "LO", "SH", "ST", "LT", "UT", "UC", "UR", "AE", "UI", "CS"}


def identifying_values(dataset: Dataset) -> set[str]:
    """All text of a data set, its sequences and its private attributes too, that could point to a person."""
    found: set[str] = set()
    for element in _elements(dataset):
        found |= {str(item).strip() for item in _listed(element)}
    return {item for item in found if len(item) >= _LEAST and (not item.isdigit() or "." in item)}


def check_nothing_left(path: Path, identifying: set[str], cleaned: Dataset) -> None:
    """Search a written file for `identifying`, except for what `cleaned` holds by right.

    Raises:
        DataError: One of them is there. It is not printed.
    """
    elements = (*_elements(cleaned.file_meta), *_elements(cleaned))
    kept = "\0".join(str(item) for element in elements for item in _listed(element))
    content = path.read_bytes()
    for value in identifying - CODED_WORDS:
        if value in kept or value.upper() in MAKERS or is_standard_uid(value):
            continue
        if _UID.fullmatch(value):  # a UID may begin like another one
            found = re.search(rb"(?<![0-9.])" + re.escape(value.encode()) + rb"(?![0-9.])", content) is not None
        else:
            found = any(value.encode(codec, "replace") in content for codec in ("utf-8", "latin-1"))
        if found:
            raise DataError(
                "a value that was taken out of a file stands elsewhere in it, perhaps among its pixels",
                mend="nothing was written; leave that series out and report the maker and model of its scanner",
            )


def _elements(dataset: Dataset) -> Iterator[DataElement]:
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            _ = element.value
        except Exception:  # a value that cannot be read was removed
            continue
        if element.VR == "SQ":
            for item in element.value:
                yield from _elements(item)
        else:
            yield element


def _listed(element: DataElement) -> list[object]:
    if element.VR not in _VRS or element.value is None:
        return []
    return list(element.value) if element.VM > 1 else [element.value]
