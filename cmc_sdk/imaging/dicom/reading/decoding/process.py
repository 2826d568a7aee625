"""Decoding in a process of its own: one that crashes, spins or eats memory is a named refusal, and this one goes on.

Decoders are C and C++ libraries that are fed what came off a network; on damaged code some spin, some crash.
The process starts with the first compressed image, serves one request after another, and ends when it was idle.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from cmc_sdk.imaging.dicom.reading.decoding.decode import Encapsulated, decode
from cmc_sdk.imaging.dicom.refusal import DicomError

__all__ = ["decoded_planes"]

# As multiprocessing does: the child finds what this process finds, however it was started.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from cmc_sdk.imaging.dicom.reading.decoding.child import main; main()"
)
_WALL_S, _WALL_S_PER_BYTE = 60.0, 2e-6


def decoded_planes(pixels: Encapsulated) -> Iterator[npt.NDArray[np.integer]]:
    """The frames `pixels.indices`, each (rows, columns), decoded elsewhere.

    Where no process can be started (a program frozen into one file), they are decoded in this one.

    Raises:
        DicomError: They cannot be decoded, or the decoder crashed or took too long.
    """
    if getattr(sys, "frozen", False) or not sys.executable:
        yield from decode(pixels)
        return
    with _LOCK:
        yield from _process().planes(pixels)


class _DecoderProcess:
    def __init__(self) -> None:
        self.owner = os.getpid()
        self._child = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    @property
    def alive(self) -> bool:
        return self.owner == os.getpid() and self._child.poll() is None

    def planes(self, pixels: Encapsulated) -> Iterator[npt.NDArray[np.integer]]:
        assert self._child.stdin is not None
        done = False
        try:
            try:
                self._child.stdin.write(json.dumps(pixels.to_dict()).encode() + b"\n")
                self._child.stdin.flush()
            except OSError as error:
                raise self._died(pixels) from error
            for _ in pixels.indices:
                yield self._plane(pixels)
            done = True
        finally:
            if not done:  # what it may still write belongs to no request
                self.close()

    def close(self) -> None:
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _plane(self, pixels: Encapsulated) -> npt.NDArray[np.integer]:
        answers = self._child.stdout
        assert isinstance(answers, io.BufferedReader)
        plane = np.empty((pixels.rows, pixels.columns), dtype=pixels.dtype)
        timer = threading.Timer(_WALL_S + _WALL_S_PER_BYTE * pixels.frame_bytes, self._child.kill)
        timer.daemon = True
        timer.start()
        try:
            line = answers.readline()
            answer = json.loads(line) if line.endswith(b"\n") else None
            if answer is None:
                raise self._died(pixels)
            if answer["error"] is not None:
                raise DicomError("decoder", answer["error"], mend=answer["mend"])
            view = plane.data.cast("B")
            at = 0
            while at < len(view):
                part = answers.readinto(view[at:])
                if not part:
                    raise self._died(pixels)
                at += part
        finally:
            timer.cancel()
        return plane

    def _died(self, pixels: Encapsulated) -> DicomError:
        return DicomError(
            "decoder",
            f"{pixels.path}: its decoder crashed, or took too much time or memory, on damaged pixels",
            mend="copy it again from its source",
        )


_LOCK = threading.Lock()
_SHARED: list[_DecoderProcess] = []


def _process() -> _DecoderProcess:
    """The one of this process (not its parent's, after a fork); called under the lock."""
    if _SHARED and _SHARED[0].alive:
        return _SHARED[0]
    _SHARED[:] = [_DecoderProcess()]
    return _SHARED[0]
