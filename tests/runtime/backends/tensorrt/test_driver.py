"""The driver's own words, from a stand-in library that is really loaded and called; and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from cmc_sdk.errors import BackendError, ResourceError
from cmc_sdk.runtime.backends.tensorrt import driver as module
from cmc_sdk.runtime.backends.tensorrt.cuda import Buffer, Cuda
from cmc_sdk.runtime.backends.tensorrt.driver import device_key, find_devices, require_device


def test_without_a_driver_nothing_is_found_and_nothing_crashes(no_driver):
    report = find_devices()
    assert not report
    assert report.cuda is None
    assert "no NVIDIA driver" in report.note
    with pytest.raises(BackendError, match="no NVIDIA driver"):
        require_device()
    with pytest.raises(BackendError, match="no NVIDIA driver"):
        Cuda()


def test_a_device_is_described(driver):
    report = find_devices()
    assert report
    assert (report.version, report.cuda, report.note) == ("540.4.0", (12, 6), "")
    (device,) = report.devices
    assert (device.index, device.name, device.capability, device.integrated) == (0, "Fake Orin 0", "sm87", True)
    assert device.memory_bytes == 8 << 30
    with pytest.raises(BackendError, match="no device 1"):
        require_device(1)


def test_a_driver_that_finds_no_device_is_named(driver):
    driver.setenv("FAKE_CUINIT", "100")
    report = find_devices()
    assert not report
    assert "error 100" in report.note
    driver.setenv("FAKE_CUINIT", "0")
    driver.setenv("FAKE_DEVICES", "0")
    assert find_devices().note == "the NVIDIA driver lists no device"


def test_a_device_key_follows_gpu_driver_and_system(driver, tmp_path):
    first = device_key(require_device())
    assert first == device_key(require_device())
    assert (first.gpu, first.capability, first.driver) == ("Fake Orin 0", "sm87", "540.4.0")
    release = tmp_path / "nv_tegra_release"
    release.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n")
    driver.setattr(module, "_L4T_RELEASE", release)
    assert device_key(require_device()).driver == "540.4.0, L4T 36.4.3"
    system = tmp_path / "os-release"
    system.write_text('NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="22.04"\n')
    driver.setattr(module, "_OS_RELEASE", system)
    assert "ubuntu 22.04" in device_key(require_device()).os
    driver.setenv("FAKE_CAPABILITY", "90")
    assert device_key(require_device()).capability == "sm90"
    driver.setattr(module, "_KERNEL_MODULE", tmp_path / "absent")
    driver.setattr(module, "_L4T_RELEASE", tmp_path / "absent")
    assert device_key(require_device()).driver == "for CUDA 12.6"


def test_arrays_go_to_the_device_and_come_back(driver):
    cuda = Cuda()
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    buffer = Buffer(cuda, array.nbytes)
    cuda.copy_in(buffer.address, array)
    found = cuda.copy_out(buffer.address, array.shape)
    cuda.wait()
    assert np.array_equal(found, array)
    buffer.close()
    buffer.close()
    assert buffer.address == 0


def test_a_full_device_and_a_failing_driver_are_named(driver):
    cuda = Cuda()
    driver.setenv("FAKE_LARGEST", "100")
    with pytest.raises(ResourceError, match="101 bytes of device memory"):
        Buffer(cuda, 101)
    buffer = Buffer(cuda, 4)
    driver.setenv("FAKE_COPY", "700")
    with pytest.raises(BackendError, match=r"cuMemcpyHtoDAsync_v2: the fake driver was told to fail \(error 700\)"):
        cuda.copy_in(buffer.address, np.zeros(1, np.float32))
