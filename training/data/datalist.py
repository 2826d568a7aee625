"""The data list: which scans there are, whose they are, what is labelled and who tests."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from cmc_sdk.atomic import atomic_file
from cmc_sdk.bundle.manifest import Grid, ModalitySpec, ModelSpec, Name
from cmc_sdk.errors import DataError
from cmc_sdk.imaging.classes import ClassTable
from cmc_sdk.pairing import CasePairing
from cmc_sdk.strict_model import StrictModel
from cmc_sdk.training.data.documents import read_document
from cmc_sdk.training.data.faults import schema_faults

__all__ = ["Case", "Datalist", "Split", "complete_classes", "load_datalist", "write_datalist"]

Split = Literal["labelled", "unlabelled", "validation", "test"]


class Case(StrictModel):
    """One examination of one patient.

    Args:
        case: Its name, unique in the list.
        patient: Whose it is; a patient never stands in two splits.
        centre: Where it was scanned.
        split: What it is for.
        images: By modality, the image's path, relative to the list's folder or absolute. A modality may be missing.
        labels: By modality, the label map's path, on the grid of that modality's image. Never read when unlabelled.
    """

    case: Annotated[str, Field(min_length=1)]
    patient: Annotated[str, Field(min_length=1)]
    centre: str = "unknown"
    split: Split
    images: Annotated[dict[Name, Path], Field(min_length=1)]
    labels: dict[Name, Path] = Field(default_factory=dict)

    @field_validator("case", "patient", "centre", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        # YAML reads `patient: 12` as a number; identifiers are text.
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Datalist(StrictModel):
    """A list of scans to train on and to test with.

    Args:
        name: What to call it.
        modalities: In the network's order, with the intensity rule of each.
        reference_modality: Whose axes a pair in one frame is sampled on; None for the first.
        classes: Foreground classes. In a file also a list of names, or of classes with index and colour left out.
        pairing: `registered`, one frame of reference and the same anatomy; `misaligned`, one frame but the anatomy has
            moved between the scans; `unpaired`, different patients or frames.
        cases: All cases of all splits.
    """

    name: Annotated[str, Field(min_length=1)]
    modalities: Annotated[tuple[ModalitySpec, ...], Field(min_length=1)]
    reference_modality: Name | None = None
    classes: ClassTable
    pairing: CasePairing
    cases: Annotated[tuple[Case, ...], Field(min_length=1)]

    @field_validator("classes", mode="before")
    @classmethod
    def _short_classes(cls, value: object) -> object:
        return complete_classes(value) if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _check(self) -> Datalist:
        faults = []
        names = self.modality_names
        if len(set(names)) != len(names):
            faults.append("modality names must differ")
        if self.reference_modality is not None and self.reference_modality not in names:
            faults.append(f"reference_modality {self.reference_modality!r} is none of {list(names)}")
        counts = Counter(item.case for item in self.cases)
        faults += [f"case {name!r} stands {count} times in the list" for name, count in counts.items() if count > 1]
        for item in self.cases:
            for kind, paths in (("image", item.images), ("label", item.labels)):
                faults += [
                    f"case {item.case!r}: {kind} of modality {modality!r}, which is none of {list(names)}"
                    for modality in paths
                    if modality not in names
                ]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def modality_names(self) -> tuple[str, ...]:
        """Names of the modalities in the network's order."""
        return tuple(item.name for item in self.modalities)

    def split(self, name: Split) -> tuple[Case, ...]:
        """The cases of one split, in the list's order."""
        return tuple(item for item in self.cases if item.split == name)

    def model_spec(self, *, grid: Grid) -> ModelSpec:
        """What the sliding window has to know of a network that is trained on this list, on `grid`."""
        return ModelSpec(
            modalities=self.modalities,
            reference_modality=self.reference_modality or self.modality_names[0],
            classes=self.classes,
            grid=grid,
            pairing=self.pairing,
        )


def load_datalist(path: str | os.PathLike[str]) -> Datalist:
    """Read a data list (`.yaml`, `.yml` or `.json`); its paths become absolute.

    Args:
        path: The file. Relative paths in it are taken from its folder.

    Raises:
        DataError: Missing, unreadable, or against the schema; every fault is named at once.
    """
    file = Path(path)
    document = read_document(file, what="data list")
    try:
        datalist = Datalist.model_validate(document)
    except ValidationError as error:
        faults = schema_faults(error, model=Datalist)
        count = f"{len(faults)} faults: " if len(faults) > 1 else ""
        raise DataError(f"data list {file}: {count}{'; '.join(faults)}", mend="see docs/data.md") from error
    base = file.resolve().parent
    cases = tuple(
        item.model_copy(update={"images": _absolute(item.images, base), "labels": _absolute(item.labels, base)})
        for item in datalist.cases
    )
    return datalist.model_copy(update={"cases": cases})


def write_datalist(datalist: Datalist, path: str | os.PathLike[str]) -> Path:
    """Write a data list as YAML or JSON, by the file's suffix; paths under its folder become relative to it.

    Raises:
        InputError: The folder does not exist.
        ResourceError: It cannot be written.
    """
    file = Path(path)
    base = file.resolve().parent
    document = datalist.model_dump(mode="json", exclude_none=True, exclude_defaults=False)
    document["classes"] = document["classes"]["classes"]
    for item in document["cases"]:
        for kind in ("images", "labels"):
            item[kind] = {name: _relative(text, base) for name, text in item[kind].items()}
        if not item["labels"]:
            del item["labels"]
    if file.suffix == ".json":
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    else:
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    with atomic_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return file


def complete_classes(items: Sequence[object]) -> dict[str, object]:
    """Fill in the index and colour that a short list of classes leaves out; what is wrong is left to the schema."""
    palette = ClassTable.from_names([f"class {index}" for index in range(len(items))]).classes
    completed: list[object] = []
    for item, default in zip(items, palette, strict=True):
        fields = {"name": item} if isinstance(item, str) else item
        completed.append(
            {"index": default.index, "color": default.color, **fields} if isinstance(fields, dict) else fields
        )
    return {"classes": completed}


def _absolute(paths: dict[str, Path], base: Path) -> dict[str, Path]:
    return {name: base / path for name, path in paths.items()}


def _relative(text: str, base: Path) -> str:
    path = Path(text)
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()
