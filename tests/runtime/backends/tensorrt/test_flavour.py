"""Three flavours, one adapter: strongly typed always, and each says what it cannot do and who can."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from cmc_sdk.errors import BackendError, InputError
from cmc_sdk.runtime.backends.tensorrt import flavour as module
from cmc_sdk.runtime.backends.tensorrt.flavour import choose_flavour, find_flavours, load_flavour, way_to

KNOWN = [("tensorrt", "10.3.0.30"), ("tensorrt", "11.0.0.1"), ("tensorrt_rtx", "1.7.1")]


def installed(monkeypatch, *names: str) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: name if name in names else None)


@pytest.mark.parametrize(("name", "version"), KNOWN)
def test_networks_are_strongly_typed_in_every_flavour(fake, name, version):
    flavour = fake(name, version=version)
    trt = flavour.module
    network = flavour.create_network(trt.Builder(None))
    assert network.flags == (2 if version.startswith("10") else 0)
    assert flavour.version == version
    assert flavour.times_layers is (name == "tensorrt")
    assert flavour.targets == (("sm75", "sm86", "sm120") if name == "tensorrt_rtx" else ())


@pytest.mark.parametrize(("name", "version"), KNOWN)
def test_fp32_is_fp32_and_the_workspace_is_limited(fake, name, version):
    flavour = fake(name, version=version)
    trt = flavour.module
    config = flavour.create_config(trt.Builder(None), workspace_bytes=123, capabilities=())
    assert config.flags == set()
    assert config.pools == {trt.MemoryPoolType.WORKSPACE: 123}
    assert config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED
    assert flavour.create_config(trt.Builder(None), workspace_bytes=None, capabilities=()).pools == {}


def test_a_tensorrt_that_would_choose_precisions_itself_is_refused(fake):
    with pytest.raises(BackendError, match=r"TensorRT 10\.2\.0 is too old"):
        fake("tensorrt", version="10.2.0")
    with pytest.raises(BackendError, match=r"TensorRT 8\.6\.1 is too old"):
        fake("tensorrt", version="8.6.1")
    flavour = fake("tensorrt", version="10.4.0")
    flavour.module.NetworkDefinitionCreationFlag = object()
    with pytest.raises(BackendError, match="does not make strongly typed networks"):
        flavour.create_network(flavour.module.Builder(None))


def test_targets_are_set_in_order_and_unknown_ones_refused(fake):
    rtx = fake("tensorrt_rtx")
    config = rtx.create_config(rtx.module.Builder(None), workspace_bytes=None, capabilities=("sm86", "sm120"))
    assert config.num_compute_capabilities == 2
    assert config.capabilities == {0: rtx.module.ComputeCapability.SM86, 1: rtx.module.ComputeCapability.SM120}
    with pytest.raises(InputError, match="builds no engine for sm87") as caught:
        rtx.require_target("sm87")
    assert "Jetson Orin" in caught.value.mend
    with pytest.raises(InputError, match="sm90") as caught:
        rtx.require_target("sm90")
    assert "H100" in caught.value.mend
    with pytest.raises(InputError, match="sm33") as caught:
        rtx.require_target("sm33")
    assert "sm75, sm86, sm120" in caught.value.mend


def test_only_rtx_builds_for_devices_elsewhere(monkeypatch):
    installed(monkeypatch, "tensorrt", "tensorrt_rtx")
    assert choose_flavour(ahead_of_time=True) == "tensorrt_rtx"
    assert choose_flavour(ahead_of_time=False) == "tensorrt"
    assert choose_flavour(ahead_of_time=False, wanted="tensorrt_rtx") == "tensorrt_rtx"
    with pytest.raises(InputError, match="only for the device"):
        choose_flavour(ahead_of_time=True, wanted="tensorrt")
    installed(monkeypatch, "tensorrt")
    with pytest.raises(BackendError, match="tensorrt_rtx not installed") as caught:
        choose_flavour(ahead_of_time=True)
    assert "cmc-sdk[rtx]" in caught.value.mend
    installed(monkeypatch, "tensorrt_rtx")
    assert choose_flavour(ahead_of_time=False) == "tensorrt_rtx"
    installed(monkeypatch)
    with pytest.raises(BackendError, match="tensorrt and tensorrt_rtx not installed"):
        choose_flavour(ahead_of_time=False)


def test_a_flavour_that_is_missing_or_broken_is_named(monkeypatch, tmp_path):
    installed(monkeypatch)
    with pytest.raises(BackendError, match="tensorrt is not installed") as caught:
        load_flavour("tensorrt")
    assert "JetPack" in caught.value.mend
    monkeypatch.undo()
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(BackendError, match=r"cannot be loaded: libnvinfer\.so\.10"):
        load_flavour("tensorrt")


def test_flavours_are_found_without_being_imported(fake, monkeypatch):
    fake("tensorrt_rtx")
    sys.modules.pop("tensorrt_rtx")
    states = {item.name: item for item in find_flavours()}
    assert "tensorrt_rtx" not in sys.modules
    assert states["tensorrt_rtx"].note == ""
    monkeypatch.setattr(module, "installed_version", lambda name: "8.6.1")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: name)
    assert "too old" in next(item for item in find_flavours() if item.name == "tensorrt").note
    installed(monkeypatch)
    assert {item.note for item in find_flavours()} == {"not installed"}


def test_every_known_device_has_a_way():
    assert "--target sm86" in way_to("sm86")
    assert all("without --target" in way_to(name) for name in ("sm87", "sm90", "sm100", "sm110", "sm61"))


def test_the_list_for_messages_is_that_of_the_installed_library():
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed")
    assert load_flavour("tensorrt_rtx").targets == module.RTX_CAPABILITIES
