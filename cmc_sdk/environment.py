"""Every environment variable that cmc-sdk reads or sets, and no other place does either."""

from __future__ import annotations

import os

__all__ = [
    "INSTRUCTIONS_VARIABLE",
    "TRUST_VARIABLE",
    "instruction_limit",
    "keep_telemetry_off",
    "limit_instructions",
    "process_count",
    "process_rank",
    "processes_on_this_host",
    "secret",
    "trust_store_path",
]

TRUST_VARIABLE = "CMC_TRUST"
"""May name a trust store; it cannot ask for development."""

INSTRUCTIONS_VARIABLE = "ONEDNN_MAX_CPU_ISA"
"""Read once by the library of layers in OpenVINO, when the first graph is compiled."""


def keep_telemetry_off() -> None:
    """ONNX Runtime sends events to its maker and keeps a device id in the home folder from the moment it is imported;
    only this, set before that, prevents it.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def trust_store_path() -> str | None:
    """Where the trust store lies that holds where none is named; None where the variable is not set."""
    return os.environ.get(TRUST_VARIABLE) or None


def limit_instructions(limit: str) -> None:
    """Keep OpenVINO in this process to these vector instructions; what the user has set stays."""
    os.environ.setdefault(INSTRUCTIONS_VARIABLE, limit)


def instruction_limit() -> str | None:
    """What OpenVINO is kept to in this process; None if to nothing."""
    return os.environ.get(INSTRUCTIONS_VARIABLE)


def secret(variable: str) -> str | None:
    """The value of a variable that the user names; None where it is unset or empty."""
    return os.environ.get(variable) or None


def process_rank() -> int:
    """Of this process among those that `torchrun` started; 0 where there is one."""
    return int(os.environ.get("RANK", "0"))


def process_count() -> int:
    """How many processes `torchrun` started, on all hosts."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_on_this_host() -> int:
    """How many of them run on this host."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(process_count())))
