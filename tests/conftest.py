"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real test data, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("CMC_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "MANIFEST.tsv").is_file():
        pytest.skip(f"no test data at {folder} (set CMC_TEST_DATA)")
    return folder
