"""Random numbers that depend on what they are for, and on nothing that ran before."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["random_generator"]


def random_generator(seed: int, *, step: int, sample: int, purpose: str) -> np.random.Generator:
    """A generator whose draws are a pure function of the four arguments.

    So a run that is resumed, a run on two processes and a run with one loss switched off all see the same data.

    Args:
        seed: The run's seed, any integer.
        step: Optimiser step, or whatever counts in this purpose (an epoch, a patient).
        sample: Position in the whole batch, over all processes.
        purpose: What the draws are for, for example "spatial"; two purposes never share a stream.

    Returns:
        A fresh `numpy.random.Generator` on Philox, keyed by 128 bits of a hash of the arguments.
    """
    text = f"cmc-random-v1\0{int(seed)}\0{int(step)}\0{int(sample)}\0{purpose}"
    key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))
