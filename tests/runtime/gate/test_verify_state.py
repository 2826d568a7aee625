"""The report that `cmc verify --state` keeps."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from cmc_sdk.bundle import open_bundle
from cmc_sdk.errors import InputError
from cmc_sdk.export import verify_bundle
from cmc_sdk.runtime.gate.verify_state import keep_report, open_engines
from tests.export.exported import Exported


def test_the_report_says_what_ran_where_and_what_came_out(exported: Exported, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert open_engines(open_bundle(exported.bundle), state=state) == []
    report = verify_bundle(exported.bundle, trust="development", backends=["onnxruntime"])
    name = keep_report(report, state=state)
    assert keep_report(report, state=state) == name  # in place of the earlier one
    path = state / name
    assert name == f"verify-{report.manifest_sha256[:16]}.report"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert document["passed"] is True
    assert document["manifest_sha256"] == report.manifest_sha256
    assert document["backends"] == [{"backend": "onnxruntime", "precision": "f32"}]
    assert {"platform", "processor", "python", "packages", "devices"} <= document["machine"].keys()
    assert document["gates"]["f32"]["limits"]["max_flips"] == 0.0001
    assert sorted(item.name for item in state.iterdir()) == ["key", name]


def test_a_folder_that_others_may_enter_is_refused(exported: Exported, tmp_path: Path) -> None:
    bundle = open_bundle(exported.bundle)
    state = tmp_path / "open"
    state.mkdir(mode=0o755)
    with pytest.raises(InputError, match="can be read by others"):
        open_engines(bundle, state=state)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link"):
        open_engines(bundle, state=link)
