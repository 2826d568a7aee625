"""The decoding process: requests as JSON lines in, pixels out, under limits that the system enforces."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cmc_sdk.imaging.dicom.reading.decoding.decode import Encapsulated, decode
from cmc_sdk.imaging.dicom.refusal import DicomError

__all__ = ["main"]

_IDLE_S = 30.0
# Of one frame: what a slow decoder needs for it, several times over.
_CPU_S, _CPU_S_PER_BYTE = 1.0, 1e-6
_FREE_BYTES, _TIMES = 64 << 20, 3


def main() -> None:
    """Serve requests until standard input ends, or nothing came for a while."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not come between pixels
    while _waiting(requests):
        line = requests.readline()
        if not line:
            return
        request = json.loads(line)
        _serve(Encapsulated(**{**request, "indices": tuple(request["indices"])}), answers)
        answers.flush()
        _stop_timer()


def _serve(pixels: Encapsulated, answers: BinaryIO) -> None:
    _import_decoders()
    _limit(pixels)
    try:
        for plane in decode(pixels):
            answers.write(json.dumps({"error": None}).encode() + b"\n")
            answers.write(np.ascontiguousarray(plane).data)
            _limit(pixels)
    except DicomError as error:
        answers.write(json.dumps({"error": error.reason, "mend": error.mend}).encode() + b"\n")
    except MemoryError:
        reason = f"{pixels.path}: its decoder took too much memory"
        answers.write(json.dumps({"error": reason, "mend": "copy it again from its source"}).encode() + b"\n")


def _waiting(requests: BinaryIO) -> bool:
    """Whether a request came; on Windows, where pipes cannot be waited for, always."""
    if os.name == "nt":
        return True
    return bool(select.select([requests], [], [], _IDLE_S)[0])


def _import_decoders() -> None:
    """Before memory is limited, so that the limit is on decoding alone."""
    from pydicom.pixels.decoders import base  # noqa: F401


def _stop_timer() -> None:
    with contextlib.suppress(AttributeError):
        signal.setitimer(signal.ITIMER_PROF, 0)


def _limit(pixels: Encapsulated) -> None:
    """Processor time for the next frame, and memory for all of them; where the system can."""
    with contextlib.suppress(ImportError, AttributeError, ValueError, OSError):
        import resource

        # A timer that counts only while this process computes: the signal that it ends with ends the process.
        signal.setitimer(signal.ITIMER_PROF, _CPU_S + _CPU_S_PER_BYTE * pixels.frame_bytes)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + _FREE_BYTES + _TIMES * pixels.frame_bytes
        most += max(0, pixels.file_bytes - pixels.offset)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
