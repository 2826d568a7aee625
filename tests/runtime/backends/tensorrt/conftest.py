"""Stand-ins for TensorRT and for the driver, so that all that is ours is tested without either."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cmc_sdk.runtime.backends.tensorrt import driver as driver_module
from cmc_sdk.runtime.backends.tensorrt.flavour import Flavour, load_flavour
from tests.runtime.backends.tensorrt.graphs import make_bundle

HERE = Path(__file__).parent


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Flavour]]:
    """Install a stand-in: `fake("tensorrt", version="10.3.0")`; a child process finds it too."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def install(name: str = "tensorrt_rtx", *, version: str = "1.7.1") -> Flavour:
        text = (HERE / "fake_tensorrt.py").read_text().replace('"VERSION"', f'"{version}"')
        (folder / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        return load_flavour(name)  # type: ignore[arg-type]

    yield install
    for name in ("tensorrt", "tensorrt_rtx"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def driver_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared library with the driver's functions, over the machine's own memory."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler to make the stand-in for the driver")
    library = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    source = HERE / "fake_driver.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-o", str(library), str(source)], check=True)
    return library


@pytest.fixture
def driver(driver_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One device of SM 87 called "Fake Orin 0"; set FAKE_… variables to change it."""
    monkeypatch.setattr(driver_module, "LIBRARY", str(driver_library))
    kernel = tmp_path / "kernel"
    kernel.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n")
    monkeypatch.setattr(driver_module, "_KERNEL_MODULE", kernel)
    return monkeypatch


@pytest.fixture
def no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without one, even where the tests run on a machine with one."""
    monkeypatch.setattr(driver_module, "LIBRARY", str(tmp_path / "libcuda.so.1"))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One modality, f32 and fp16, an island in the fp16 encoder."""
    pytest.importorskip("onnx")
    return make_bundle(tmp_path_factory.mktemp("engines") / "tiny.cmc")
