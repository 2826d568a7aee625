"""`cmc verify --state`: engines are held to the bundle's limits, and run only after; over stand-ins."""

from __future__ import annotations

import pytest

from cmc_sdk import Session
from cmc_sdk.bundle import open_bundle
from cmc_sdk.cli.main import main
from cmc_sdk.errors import BackendError
from cmc_sdk.runtime.backends.tensorrt.engines import build_engines, list_engines
from cmc_sdk.runtime.backends.tensorrt.proof import unproved_backends

pytestmark = pytest.mark.slow


def verify(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["verify", *(str(word) for word in words)])
    return int(stopped.value.code or 0)


def test_engines_run_after_verify_has_passed_and_not_before(exported, fake, driver, tmp_path, capsys):
    fake("tensorrt", version="10.3.0.30")
    state = tmp_path / "state"
    report = build_engines(exported.bundle, state=state, trust="development")
    assert report, report.faults
    options = {"trust": "development", "backend": "tensorrt", "state": state, "threads": 1}
    with pytest.raises(BackendError, match="not been verified"):
        Session(exported.bundle, **options)
    assert verify(exported.bundle, "--development", "--backend", "onnxruntime", "--state", state) == 0
    assert "tensorrt" in capsys.readouterr().out
    images = exported.case.images
    found = Session(exported.bundle, **options).infer(images, pairing="registered")
    expected = Session(exported.bundle, trust="development", backend="onnxruntime").infer(images, pairing="registered")
    assert found.record.backend == "tensorrt"
    assert (found.labels["ct"].stored == expected.labels["ct"].stored).all()
    # The verdicts lie beside the engines, and are none.
    assert len(list_engines(state)) == 4


def test_engines_that_label_otherwise_get_no_word(exported, fake, driver, tmp_path, capsys, monkeypatch):
    fake("tensorrt", version="10.3.0.30")
    state = tmp_path / "state"
    build_engines(exported.bundle, state=state, trust="development")
    # Two classes change places in what the engines give.
    from cmc_sdk.runtime.backends.tensorrt.backend import TensorRtBackend

    right = TensorRtBackend.decode
    monkeypatch.setattr(TensorRtBackend, "decode", lambda *args, **named: right(*args, **named)[:, [0, 2, 1]])
    assert verify(exported.bundle, "--development", "--backend", "onnxruntime", "--state", state) == 1
    assert "tensorrt" in capsys.readouterr().out
    assert not list(state.glob("verified-*"))
    with pytest.raises(BackendError, match="not been verified"):
        Session(exported.bundle, trust="development", backend="tensorrt", state=state)


def test_without_engines_there_is_nothing_to_verify(exported, fake, driver, tmp_path):
    flavour = fake("tensorrt_rtx", version="1.7.1")
    assert flavour.targets
    state = tmp_path / "state"
    build_engines(exported.bundle, state=state, trust="development", targets=("sm86",))
    with pytest.raises(BackendError, match=r"no engines to verify: .*capabilities sm86 is now sm87") as caught:
        unproved_backends(open_bundle(exported.bundle), state=state)
    assert "cmc engine build" in caught.value.mend
