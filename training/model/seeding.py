"""Fresh weights from a seed, without touching the global random state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

__all__ = ["seeded"]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within the block torch's CPU generator starts at `seed`; afterwards it is as it was before."""
    # Not torch.manual_seed: it would also reseed every accelerator, which the fork does not restore.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
