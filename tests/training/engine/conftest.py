"""A phantom of few patients, coarse enough that a training step takes milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(scope="session")
def datalist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cmc_sdk.training.data import make_phantom

    folder = tmp_path_factory.mktemp("study") / "phantom"
    return make_phantom(folder, labelled=2, unlabelled=2, validation=2, test=1, spacing_mm=16.0)


@pytest.fixture(scope="session")
def unpaired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cmc_sdk.training.data import make_phantom

    folder = tmp_path_factory.mktemp("study") / "unpaired"
    return make_phantom(folder, labelled=2, unlabelled=2, validation=2, test=2, spacing_mm=16.0, pairing="unpaired")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Bit for bit holds at an equal number of threads, and small steps are fastest with one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
