"""What `examine_machine` says, and the faults that it names."""

from __future__ import annotations

import dataclasses

import pytest

from cmc_sdk.runtime import doctor as machine
from cmc_sdk.runtime.backends.catalogue import CATALOGUE
from cmc_sdk.runtime.backends.row import BackendState
from cmc_sdk.runtime.doctor import examine_machine

USABLE = BackendState(True, "1.0", ("f32",), ("CPU",), "")
BROKEN = BackendState(False, "1.0", (), (), "ImportError: libgomp.so.1")
ABSENT = BackendState(False, None, (), (), "not installed")


def examine(
    monkeypatch: pytest.MonkeyPatch, *, onnxruntime: BackendState, openvino: BackendState, both: bool = False
) -> machine.MachineReport:
    for name, state in {"onnxruntime": onnxruntime, "openvino": openvino}.items():
        row = dataclasses.replace(CATALOGUE[name], examine=lambda _, state=state: state)
        monkeypatch.setitem(CATALOGUE, name, row)
    known = {"onnxruntime": onnxruntime.version, "onnxruntime-gpu": "1.0" if both else None}
    monkeypatch.setattr(machine, "installed_version", lambda name: known.get(name))
    return examine_machine()


def test_this_machine() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    report = examine_machine()
    assert report.cores >= 1
    assert report.packages["numpy"] is not None
    assert report.backends["onnxruntime"].usable
    assert set(report.backends["openvino"].precisions) - {"bf16"} == {"f32", "int8"}
    assert report.to_dict()["backends"]["openvino"]["usable"] is True


def test_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    report = examine(monkeypatch, onnxruntime=USABLE, openvino=ABSENT)
    assert report
    assert report.openvino_telemetry_blocked is None


def test_both_kinds_of_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    report = examine(monkeypatch, onnxruntime=USABLE, openvino=ABSENT, both=True)
    assert not report
    assert "onnxruntime and onnxruntime-gpu are both installed" in report.faults[0]
    assert "pip uninstall" in report.faults[0]


def test_no_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    report = examine(monkeypatch, onnxruntime=ABSENT, openvino=ABSENT)
    assert report.faults == ("no inference backend works here: install one with `pip install 'cmc-sdk[cpu]'`",)


def test_a_backend_that_is_installed_but_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    report = examine(monkeypatch, onnxruntime=BROKEN, openvino=USABLE)
    assert report.faults == ("onnxruntime is installed but cannot run: ImportError: libgomp.so.1",)
