"""The execution backend over stand-ins for driver and library: every byte goes the way that it goes on a device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmc_sdk import Session, Volume
from cmc_sdk.bundle import open_bundle
from cmc_sdk.errors import BackendError, InputError, ResourceError
from cmc_sdk.runtime.backends.base import DecoderInputs
from cmc_sdk.runtime.backends.onnxruntime import OnnxRuntimeBackend
from cmc_sdk.runtime.backends.tensorrt.backend import TensorRtBackend
from cmc_sdk.runtime.backends.tensorrt.driver import device_key, find_devices, require_device
from cmc_sdk.runtime.backends.tensorrt.engines import build_engines
from cmc_sdk.runtime.backends.tensorrt.state import StateFolder
from cmc_sdk.runtime.backends.tensorrt.store import EngineStore, VerifiedRecord
from tests.runtime.backends.tensorrt.graphs import WINDOW

pytest.importorskip("onnx")
pytestmark = pytest.mark.slow


@pytest.fixture
def state(tmp_path, fake, driver, bundle) -> Path:
    """Engines for the device, built in place; not verified yet."""
    fake("tensorrt", version="10.3.0.30")
    report = build_engines(bundle, state=tmp_path / "state", trust="development")
    assert report, report.faults
    return tmp_path / "state"


def opened(bundle, state, **options) -> TensorRtBackend:
    return TensorRtBackend(open_bundle(bundle), state=state, **{"proving": True, **options})


def pass_verify(bundle, state, backend) -> None:
    with StateFolder(state) as folder:
        EngineStore(folder).keep_verified(
            VerifiedRecord(
                manifest_sha256=open_bundle(bundle).manifest_sha256,
                precision=backend.precision,
                engines=tuple(backend.engines),
                device=device_key(backend.device),
                when="now",
            )
        )


def run(backend, batch: int) -> tuple[np.ndarray, np.ndarray]:
    window = np.random.default_rng(batch).normal(0, 1, (batch, 1, WINDOW, WINDOW, WINDOW)).astype(np.float32)
    encoded = backend.encode("ct", window)
    inputs = DecoderInputs({"ct": encoded["features"]}, np.ones((batch, 1), np.float32), encoded, window)
    logits = backend.decode("ct", inputs)
    return encoded["features"], logits


@pytest.mark.parametrize("precision", ["f32", "fp16"])
def test_windows_come_back_as_onnxruntime_gives_them_for_every_batch(bundle, state, precision):
    backend = opened(bundle, state, precision=precision)
    reference = OnnxRuntimeBackend(open_bundle(bundle), precision=precision)
    assert (backend.name, backend.precision) == ("tensorrt", precision)
    for batch in (1, 4, 2, 3, 1):
        for found, expected in zip(run(backend, batch), run(reference, batch), strict=True):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, expected)


def test_outputs_stay_as_they_are_when_the_next_window_runs(bundle, state):
    backend = opened(bundle, state)
    first = backend.encode("ct", np.ones((1, 1, WINDOW, WINDOW, WINDOW), np.float32))["features"]
    kept = first.copy()
    backend.encode("ct", np.full((1, 1, WINDOW, WINDOW, WINDOW), 5, np.float32))
    assert np.array_equal(first, kept)


def test_too_many_windows_and_wrong_shapes_are_named(bundle, state, driver):
    backend = opened(bundle, state)
    with pytest.raises(BackendError, match="no profile for 5 windows") as caught:
        backend.encode("ct", np.zeros((5, 1, WINDOW, WINDOW, WINDOW), np.float32))
    assert "at most 4" in caught.value.mend
    with pytest.raises(BackendError, match="takes no window of shape"):
        backend.encode("ct", np.zeros((1, 1, WINDOW, WINDOW, 2), np.float32))
    driver.setenv("FAKE_LARGEST", "100")
    with pytest.raises(ResourceError, match="device memory"):
        backend.encode("ct", np.zeros((2, 1, WINDOW, WINDOW, WINDOW), np.float32))


def test_it_runs_only_after_verify_has_passed_on_this_device(bundle, state, driver):
    with pytest.raises(BackendError, match="not been verified"):
        opened(bundle, state, proving=False)
    pass_verify(bundle, state, opened(bundle, state))
    assert opened(bundle, state, proving=False).engines
    with pytest.raises(BackendError, match="not been verified"):
        opened(bundle, state, proving=False, precision="fp16")
    driver.setattr("cmc_sdk.runtime.backends.tensorrt.driver._KERNEL_MODULE", Path("/nowhere"))
    with pytest.raises(BackendError, match=r"another device: driver 540\.4\.0 is now for CUDA 12\.6"):
        opened(bundle, state, proving=False)


def test_another_library_or_device_finds_no_engine_and_says_what_changed(bundle, state, fake, driver):
    fake("tensorrt", version="10.7.0.23")
    with pytest.raises(BackendError, match=r"version 10\.3\.0\.30 is now 10\.7\.0\.23") as caught:
        opened(bundle, state)
    assert "cmc engine build" in caught.value.mend
    fake("tensorrt", version="10.3.0.30")
    driver.setenv("FAKE_CAPABILITY", "90")
    with pytest.raises(BackendError, match="capabilities sm87 is now sm90"):
        opened(bundle, state)
    with StateFolder(state) as folder:
        for name in folder.names(suffix=".json"):
            folder.remove(name)
    with pytest.raises(BackendError, match="none is built for sm90"):
        opened(bundle, state)


def test_a_changed_engine_never_reaches_the_library(bundle, state):
    backend = opened(bundle, state)
    for path in state.glob("*.engine"):
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match=r"\.engine was changed"):
        run(backend, 1)


def test_without_a_driver_the_library_is_not_even_imported(bundle, state, no_driver):
    import sys

    sys.modules.pop("tensorrt", None)
    with pytest.raises(BackendError, match="no NVIDIA driver"):
        opened(bundle, state)
    assert "tensorrt" not in sys.modules


def test_a_session_takes_the_engines_of_a_state_folder_and_says_so(bundle, state):
    pass_verify(bundle, state, opened(bundle, state))
    session = Session(bundle, trust="development", backend="tensorrt", state=state, threads=1)
    scan = Volume(np.full((20, 18, 16), 40, np.int16), np.diag([3.0, 3.0, 3.0, 1.0]), name="scan")
    result = session.infer({"ct": scan})
    assert (result.record.backend, result.record.precision) == ("tensorrt", "f32")
    expected = Session(bundle, trust="development", backend="onnxruntime", threads=1).infer({"ct": scan})
    assert np.array_equal(result.labels["ct"].stored, expected.labels["ct"].stored)


def test_a_state_folder_and_the_backend_belong_together(bundle, state):
    for options in ({"backend": "tensorrt"}, {"backend": "onnxruntime", "state": state}, {"state": state}):
        with pytest.raises(InputError, match="state folder") as caught:
            Session(bundle, trust="development", **options)
        assert "cmc engine build" in caught.value.mend


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["f32", "fp16"])
def test_a_device_gives_the_logits_of_onnxruntime(tmp_path, bundle, precision):
    """Never run yet: needs an NVIDIA device, its driver and a TensorRT."""
    if not find_devices():
        pytest.skip("no NVIDIA device")
    report = build_engines(bundle, state=tmp_path / "state", trust="development", precisions=(precision,))
    assert report, report.faults
    assert report.builds[0].key.capabilities == (require_device().capability,)
    backend = opened(bundle, tmp_path / "state", precision=precision)
    reference = OnnxRuntimeBackend(open_bundle(bundle))
    for batch in (1, 4, 3):
        for found, expected in zip(run(backend, batch), run(reference, batch), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-4 if precision == "f32" else 2e-2)
