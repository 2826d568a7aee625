"""A hundred cases in one process: memory does not grow."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import gc
import numpy as np
from cmc_sdk.runtime.host.memory import rss_bytes
from cmc_sdk.runtime.segmenter import Segmenter
from tests.runtime.stubs import StubBackend, blob_scan, make_spec

class Forgetful(StubBackend):
    def encode(self, modality, window):
        self.encoded.clear()
        self.decoded.clear()
        return super().encode(modality, window)

session = Segmenter(make_spec(), Forgetful(), threads=2)
affine = np.diag([1.5, 1.5, 2.0, 1.0])
seen = []
for case in range(120):
    scan = blob_scan(affine, (60 + case % 7, 64, 56), seed=case)
    session.infer({"ct": scan})
    if case >= 20:  # caches and arenas have filled
        seen.append(rss_bytes())
slope = np.polyfit(np.arange(len(seen)), np.array(seen, float), 1)[0]
print(slope)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_hundred_cases_leave_nothing_behind() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    assert float(done.stdout) <= 64_000, f"resident memory grows by {float(done.stdout):.0f} bytes a case"
