"""The table of classes that a label map may hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from cmc_sdk.strict_model import StrictModel

__all__ = ["ClassTable", "Code", "SegmentClass"]


class Code(StrictModel):
    """A coded concept, for example SNOMED CT 10200004 "Liver"."""

    value: str
    scheme: str = "SCT"
    meaning: str


class SegmentClass(StrictModel):
    """One foreground class of a label map.

    Args:
        index: Its value in the label map, 1 to 255; background is 0 and is not listed.
        name: Unique, the user's own.
        color: Red, green, blue, 0 to 255.
        snomed: Its SNOMED CT code, if known.
        mirror: Name of the class that it becomes under a left-right flip (left kidney ↔ right kidney), if lateral.
        values: Values of the annotators' label maps that count as this class, such as all parts of a tumour; None: its
            index alone.
    """

    index: Annotated[int, Field(ge=1, le=255)]
    name: Annotated[str, Field(min_length=1)]
    color: tuple[int, int, int]
    snomed: Code | None = None
    mirror: str | None = None
    values: tuple[Annotated[int, Field(ge=1, le=255)], ...] | None = None

    @property
    def stored_values(self) -> tuple[int, ...]:
        """Values that count as this class in a reference label map."""
        return (self.index,) if self.values is None else self.values


class ClassTable(StrictModel):
    """The foreground classes, with indices 1 … K-1 in order."""

    classes: tuple[SegmentClass, ...]

    @model_validator(mode="after")
    def _check(self) -> ClassTable:
        if [item.index for item in self.classes] != list(range(1, len(self.classes) + 1)):
            raise ValueError("class indices must be 1, 2, … without a gap, in order (0 is background)")
        if len(set(self.names)) != len(self.classes):
            raise ValueError("class names must differ")
        taken: dict[int, str] = {}
        for item in self.classes:
            for value in item.stored_values:
                if value in taken:
                    raise ValueError(f"label value {value} counts as {taken[value]!r} and as {item.name!r}")
                taken[value] = item.name
        mirrors = {item.name: item.mirror for item in self.classes if item.mirror is not None}
        for name, mirror in mirrors.items():
            if mirrors.get(mirror) != name:
                raise ValueError(f"class {name!r} is marked as the mirror of {mirror!r}, which does not name it back")
        return self

    @classmethod
    def from_names(cls, names: Sequence[str]) -> ClassTable:
        """A table with distinct default colours for foreground `names`."""
        palette = (
            (230, 75, 53), (77, 187, 213), (0, 160, 135), (243, 155, 127), (132, 145, 180), (145, 209, 194),
            (220, 0, 0), (126, 97, 72), (240, 190, 0), (60, 84, 136), (176, 156, 133), (155, 89, 182),
        )  # fmt: skip
        return cls(
            classes=tuple(
                SegmentClass(index=index + 1, name=name, color=palette[index % len(palette)])
                for index, name in enumerate(names)
            )
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Foreground names in order of index."""
        return tuple(item.name for item in self.classes)

    @property
    def num_classes(self) -> int:
        """K, background included."""
        return len(self.classes) + 1

    def mirror_permutation(self) -> tuple[int, ...]:
        """For each label value 0 … K-1, the value that it becomes under a left-right flip."""
        index = {item.name: item.index for item in self.classes}
        return (0, *(index[item.mirror] if item.mirror else item.index for item in self.classes))
