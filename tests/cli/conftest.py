"""A small bundle, two scans that it can label, and the command line in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cmc_sdk import write_volume
from cmc_sdk.bundle import write_bundle
from cmc_sdk.cli.main import main
from tests.cli.command import Outcome, make_scan, make_spec, with_trust


@pytest.fixture
def cmc(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run `cmc` in this process: `cmc("info", bundle)`. A bundle's trust is `--development` unless it is stated."""

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(with_trust([str(word) for word in words]))
        out, err = capsys.readouterr()
        return Outcome(int(stopped.value.code or 0), out, err)

    return run


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of hand-written graphs with modalities ct and mr and two classes. Copy it before changing it."""
    pytest.importorskip("onnx")
    from tests.cli.graphs import make_graph

    spec = make_spec()
    graphs = [make_graph(part, name, modalities=spec.names) for name in spec.names for part in ("encoder", "decoder")]
    path = tmp_path_factory.mktemp("bundle") / "tiny.cmc"
    fields = {
        "name": "tiny",
        "version": "1",
        "licence": "Apache-2.0",
        "intended_use": "tests",
        "spec": spec,
        "graphs": tuple(entry for entry, _ in graphs),
        "gate": {},
        "provenance": {"method": "cmc", "seed": 3},
    }
    write_bundle(path, manifest_fields=fields, files={entry.path: content for entry, content in graphs})
    return path


@pytest.fixture
def scans(tmp_path: Path) -> dict[str, Path]:
    """A ct and an mr scan on one grid, as files."""
    paths = {"ct": tmp_path / "ct.nii.gz", "mr": tmp_path / "mr.nii.gz"}
    for seed, path in enumerate(paths.values()):
        write_volume(make_scan(seed=seed), path)
    return paths
