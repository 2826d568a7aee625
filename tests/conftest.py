"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.export.exported import Exported


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real test data, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("CMC_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "MANIFEST.tsv").is_file():
        pytest.skip(f"no test data at {folder} (set CMC_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A small network of ct and mr, really exported: takes seconds, once. Copy its bundle before changing it."""
    pytest.importorskip("onnxscript")
    from tests.export.exported import export_small

    return export_small(tmp_path_factory.mktemp("exported"))
