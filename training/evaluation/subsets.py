"""Which modalities are given to the segmenter: the column `presence` of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cmc_sdk.errors import InputError

__all__ = ["default_subsets", "parse_subsets", "presence_name"]

Subset = tuple[str, ...]


def presence_name(subset: Iterable[str]) -> str:
    """The modalities of a subset joined with "+", for example "ct+mr"."""
    return "+".join(subset)


def default_subsets(modalities: Sequence[str]) -> tuple[Subset, ...]:
    """All modalities together, then each alone."""
    together = (tuple(modalities),) if len(modalities) > 1 else ()
    return (*together, *((name,) for name in modalities))


def parse_subsets(words: Sequence[str], *, modalities: Sequence[str]) -> tuple[Subset, ...]:
    """Read subsets as a user writes them.

    Args:
        words: Each "ct+mr", "ct" or "all" (together and each alone); order and repetition do not matter. None: "all".
        modalities: The names in the network's order.

    Raises:
        InputError: A name that is none of the modalities.
    """
    found: list[Subset] = []
    for word in words or ("all",):
        if word == "all":
            found += default_subsets(modalities)
            continue
        names = [name.strip() for name in word.split("+")]
        for name in names:
            if name not in modalities:
                raise InputError(
                    f"--present {word}: {name!r} is none of the modalities {', '.join(modalities)}",
                    mend=f"join names of modalities with +, for example {presence_name(modalities)}, or give all",
                )
        found.append(tuple(name for name in modalities if name in names))
    return tuple(dict.fromkeys(found))
