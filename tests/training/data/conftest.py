"""A small phantom data list that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_sdk.training.data.datalist import Datalist, load_datalist
from cmc_sdk.training.data.phantom import make_phantom


@pytest.fixture(scope="session")
def phantom_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registered phantom of four labelled, four unlabelled, one validation and one test patient, coarse."""
    folder = tmp_path_factory.mktemp("phantom") / "study"
    return make_phantom(folder, seed=3, labelled=4, unlabelled=4, validation=1, test=1, spacing_mm=10.0)


@pytest.fixture(scope="session")
def phantom(phantom_path: Path) -> Datalist:
    """Its data list."""
    return load_datalist(phantom_path)
