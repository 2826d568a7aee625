"""Which editions there are beside f32, and how each is made."""

from __future__ import annotations

from collections.abc import Callable

from cmc_sdk.bundle.precision import Precision
from cmc_sdk.errors import InputError
from cmc_sdk.export.editions import Edition

__all__ = ["EDITIONS", "edition_of"]


def _fp16() -> Edition:
    from cmc_sdk.export.precision.edition import fp16_edition

    return fp16_edition()


def _bf16() -> Edition:
    from cmc_sdk.export.int8.edition import bf16_edition

    return bf16_edition()


def _int8() -> Edition:
    from cmc_sdk.export.int8.edition import int8_edition

    return int8_edition()


EDITIONS: dict[Precision, Callable[[], Edition]] = {"fp16": _fp16, "bf16": _bf16, "int8": _int8}
"""How each precision beside f32 is made."""


def edition_of(precision: Precision) -> Edition:
    """The edition that is called `precision`.

    Raises:
        InputError: There is none of that name.
    """
    if precision not in EDITIONS:
        raise InputError(
            f"no export is known for {precision}",
            mend=f"choose among {', '.join(EDITIONS)}; f32 is always made",
        )
    return EDITIONS[precision]()
