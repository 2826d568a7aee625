"""Which series of a study a modality means, stated once in the data list and carried into the bundle."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from cmc_sdk.strict_model import StrictModel

__all__ = ["Orientation", "SeriesRule"]

Orientation = Literal["axial", "coronal", "sagittal", "oblique"]


def _checked_words(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        for choice in word.split("|"):
            if not choice.strip() or not any(letter.isalnum() for letter in choice):
                raise ValueError(f"{word!r} is no word: write letters or digits, such as 't2' or 't2*|haste'")
    return words


Words = Annotated[tuple[Annotated[str, Field(max_length=64)], ...], AfterValidator(_checked_words)]
Bound = Annotated[float, Field(gt=0)]


class SeriesRule(StrictModel):
    """What a series must be like; every condition that is given must hold.

    Words are compared with the words of Series Description, Protocol Name, Sequence Name, Scanning Sequence, Sequence
    Variant, Scan Options and Image Type, cut at everything that is no letter or digit, without regard to case. `*`
    stands for any letters or digits, and `|` for a choice: `t2*|haste` is met by "T2W_TSE" and by "haste_cor".

    Args:
        words: Each must occur.
        without: None may occur.
        contrast: `yes`: the header names a contrast agent; `no`: it names none.
        orientation: Which may be; empty: any.
        b_value: Least and largest b-value in s/mm²; a series whose headers give none is none. None: not looked at.
        min_slices: Fewer slices than this are no scan of this kind.
        slice_spacing_mm: Least and largest distance between slices.
        pixel_spacing_mm: Least and largest distance between pixels, in both directions.
    """

    words: Words = ()
    without: Words = ()
    contrast: Literal["yes", "no", "any"] = "any"
    orientation: tuple[Orientation, ...] = ()
    b_value: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] | None = None
    min_slices: Annotated[int, Field(ge=1)] = 1
    slice_spacing_mm: tuple[Bound, Bound] | None = None
    pixel_spacing_mm: tuple[Bound, Bound] | None = None

    @model_validator(mode="after")
    def _check(self) -> SeriesRule:
        for name in ("b_value", "slice_spacing_mm", "pixel_spacing_mm"):
            bounds = getattr(self, name)
            if bounds is not None and bounds[0] > bounds[1]:
                raise ValueError(f"{name} must be (least, largest), not {bounds[0]:g} to {bounds[1]:g}")
        return self
