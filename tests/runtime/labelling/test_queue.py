"""Windows in flight: the same labels as one after another, in order, and none left behind."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from cmc_sdk.errors import BackendError, InterruptError
from cmc_sdk.runtime.labelling.queue import WindowQueue
from cmc_sdk.runtime.labelling.runner import WindowRunner
from cmc_sdk.runtime.segmenter import Segmenter
from tests.runtime.stubs import WINDOW, StubBackend, blob_scan, make_spec

SCANS = {
    "ct": blob_scan(np.diag([2.0, 2.0, 2.0, 1.0]), (40, 36, 60)),
    "mr": blob_scan(np.diag([2.0, 2.0, 2.0, 1.0]), (40, 36, 60), seed=2, air=0.0),
}


class StreamingStub(StubBackend):
    """The stub, callable from two threads; a window takes longer the earlier it comes."""

    best_streams = 2

    def __init__(self, *, delay_s: float = 0.0) -> None:
        super().__init__()
        self.delay_s = delay_s
        self.ready: list[int] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def set_streams(self, count: int) -> None:
        self.ready.append(count)

    def encode(self, modality, window):
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            early = len(self.encoded) % 2 == 0
        if self.delay_s:
            time.sleep(self.delay_s * (2 if early else 1))
        with self._lock:
            found = super().encode(modality, window)
            self.at_once -= 1
        return found


class FailingStub(StreamingStub):
    def encode(self, modality, window):
        if len(self.encoded) == 5:
            raise BackendError("the library failed")
        return super().encode(modality, window)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_labels_are_those_of_one_window_after_another(batch: int) -> None:
    one, two = StubBackend(), StreamingStub(delay_s=0.002)
    expected = Segmenter(make_spec(), one, threads=1).infer(SCANS, batch=batch)
    found = Segmenter(make_spec(), two, threads=1).infer(SCANS, batch=batch)
    for name in SCANS:
        assert np.array_equal(found.labels[name].stored, expected.labels[name].stored)
        assert np.array_equal(found.confidence[name].stored, expected.confidence[name].stored)
    assert (two.most_at_once, two.ready) == (2, [2])
    assert (found.record.streams, expected.record.streams) == (2, 1)
    assert found.record.windows_run == expected.record.windows_run
    assert found.record.windows_reused == expected.record.windows_reused > 0


def test_results_come_in_order_and_few_are_held() -> None:
    backend = StreamingStub(delay_s=0.003)
    runner = WindowRunner(backend, spec=make_spec(), present=("ct",), streams=2)
    generator = np.random.default_rng(0)
    given = {(index, 0, 0): {"ct": generator.random((WINDOW,) * 3, np.float32)} for index in range(9)}
    expected = WindowRunner(StubBackend(), spec=make_spec(), present=("ct",))
    found, held = [], 0
    with WindowQueue(runner, streams=2) as queue:
        for index, (start, window) in enumerate(given.items(), 1):
            found += queue.put([start], [window])
            held = max(held, index - len(found))
        found += queue.drain()
    assert [start for start, _ in found] == list(given)
    assert held <= 2
    for start, logits in found:
        assert np.array_equal(logits["ct"], expected.run([given[start]])["ct"][0])


def test_a_failure_in_a_stream_ends_the_run_and_its_threads() -> None:
    before = threading.active_count()
    with pytest.raises(BackendError, match="the library failed"):
        Segmenter(make_spec(), FailingStub(), threads=1).infer(SCANS)
    assert threading.active_count() == before


def test_a_cancelled_run_waits_for_no_more_than_what_has_begun() -> None:
    backend, asked = StreamingStub(delay_s=0.01), []

    def cancel() -> bool:
        asked.append(1)
        return len(asked) > 4

    with pytest.raises(InterruptError):
        Segmenter(make_spec(), backend, threads=1).infer(SCANS, cancel=cancel)
    assert backend.at_once == 0
    assert len(backend.encoded) <= 2 * 5


def test_a_backend_that_says_nothing_has_one_stream() -> None:
    backend = StubBackend()
    assert backend.best_streams == 1
    backend.set_streams(1)
    assert backend.best_streams == 1
