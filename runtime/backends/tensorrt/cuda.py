"""Device memory and streams through the driver's own C interface.

Ten functions of the driver, called through ctypes: nothing has to be installed beside the driver, on a Jetson as on a
server, and it shares the primary context with TensorRT and with whatever else the process runs on the device.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from cmc_sdk.errors import BackendError, ResourceError
from cmc_sdk.runtime.backends.base import Array
from cmc_sdk.runtime.backends.tensorrt.driver import load_driver

__all__ = ["Buffer", "Cuda"]

_OUT_OF_MEMORY = 2


class Buffer:
    """Memory on the device, freed when it is closed or forgotten.

    Args:
        cuda: Whose device.
        size: In bytes.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        self.size = size
        self.address = 0
        self._cuda = cuda
        self.address = cuda.allocate(size)

    def close(self) -> None:
        """Free it; it can be closed twice."""
        address, self.address = self.address, 0
        if address:
            self._cuda.free(address)

    def __del__(self) -> None:
        self.close()


class Cuda:
    """The primary context of a device, and one stream in it.

    Args:
        index: Of the device, as the driver counts.

    Raises:
        BackendError: No driver, or no such device.
    """

    def __init__(self, index: int = 0) -> None:
        self._library = load_driver()
        self._device = ctypes.c_int(0)
        self._context, stream = ctypes.c_void_p(0), ctypes.c_void_p(0)
        self._call("cuDeviceGet", ctypes.byref(self._device), index)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        self.use()
        self._call("cuStreamCreate", ctypes.byref(stream), 1)  # 1: does not wait for the default stream
        self.stream = int(stream.value or 0)

    def use(self) -> None:
        """Make the context current in the calling thread: each has its own."""
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the device.

        Raises:
            ResourceError: The device has no more.
        """
        address = ctypes.c_uint64(0)
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size), what=f"{size} bytes of device memory")
        return int(address.value)

    def free(self, address: int) -> None:
        """Give memory back; errors are ignored, since the process may be ending."""
        self._library.cuCtxSetCurrent(self._context)
        self._library.cuMemFree_v2(ctypes.c_uint64(address))

    def copy_in(self, address: int, array: Array) -> None:
        """Copy a contiguous array to the device, in the stream."""
        size = ctypes.c_size_t(array.nbytes)
        source = ctypes.c_void_p(array.ctypes.data)
        self._call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), source, size, ctypes.c_void_p(self.stream))

    def copy_out(self, address: int, shape: Sequence[int]) -> Array:
        """A new f32 array of what lies on the device; whole only after `wait`."""
        array = np.empty(tuple(shape), np.float32)
        target = ctypes.c_void_p(array.ctypes.data)
        size = ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyDtoHAsync_v2", target, ctypes.c_uint64(address), size, ctypes.c_void_p(self.stream))
        return array

    def wait(self) -> None:
        """Return when all that was given to the stream is done.

        Raises:
            BackendError: Something in it failed.
        """
        self._call("cuStreamSynchronize", ctypes.c_void_p(self.stream))

    def _call(self, name: str, *arguments: Any, what: str = "") -> None:
        code = getattr(self._library, name)(*arguments)
        if code == _OUT_OF_MEMORY:
            raise ResourceError(
                f"the device has not enough memory: {what or name} refused",
                mend="close other programs on the device, or use a machine with more",
            )
        if code != 0:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(text))
            words = (text.value or b"unknown").decode("utf-8", "replace")
            raise BackendError(f"the NVIDIA driver failed in {name}: {words} (error {code})", mend="run `cmc doctor`")
