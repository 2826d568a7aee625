"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.skips import BESIDE, NO_DATA, pytest_addoption, pytest_sessionfinish, pytest_terminal_summary

if TYPE_CHECKING:
    from tests.export.exported import Exported

__all__ = ["exported", "pytest_addoption", "pytest_sessionfinish", "pytest_terminal_summary", "test_data"]

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each process of tests takes its share of the cores: torch's threads spin while they wait for each other, and where
    # they are more than the cores, a norm of a few voxels takes milliseconds.
    share = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(share))


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real test data, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("CMC_TEST_DATA", BESIDE))
    if not (folder / "MANIFEST.tsv").is_file():
        pytest.skip(f"{NO_DATA} at {folder} (set CMC_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A small network of ct and mr, really exported: takes seconds, once. Copy its bundle before changing it."""
    pytest.importorskip("onnxscript")
    from filelock import FileLock

    from tests.export.exported import export_small

    # Tests may run in several processes: the first exports, the others find it. pytest gives each a folder of its own
    # in one that they share.
    mine = tmp_path_factory.getbasetemp()
    folder = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "exported"
    with FileLock(f"{folder}.lock"):
        folder.mkdir(exist_ok=True)
        return export_small(folder)
