"""Which vector instructions OpenVINO may use in this process."""

from __future__ import annotations

from cmc_sdk.environment import limit_instructions
from cmc_sdk.runtime.host.processor import is_zen4

__all__ = ["prefer_for_f32"]


def prefer_for_f32() -> None:
    """Keep OpenVINO to AVX2 where that is faster in FP32: on Zen 4.

    Its convolutions fill whole registers with output channels. Where 512 bits are computed in two steps, 8 channels in
    a register of 16 cost twice what they should: preset `base` takes 7 % less time of a whole case with AVX2, measured
    on an AMD EPYC (docs/backends.md). Processors that compute 512 bits at once lose nothing by them.

    It holds for the whole process, and bf16 and int8 need AVX-512: so it is for a process of ours that computes in FP32
    alone, before OpenVINO is used, never for a library inside of somebody else's. A value that the user has set stays.
    """
    if is_zen4():
        limit_instructions("AVX2")
