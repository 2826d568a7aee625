"""A run that takes over another's first stages."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cmc_sdk.errors import ConfigError, InputError
from cmc_sdk.training import train
from cmc_sdk.training.engine import RunPaths
from cmc_sdk.training.engine.run_log import read_log
from tests.training.engine.study import make_config
from tests.training.engine.test_training import equal, stop_at


@pytest.fixture(scope="module")
def source(datalist: Path, tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    torch.set_num_threads(1)
    # Stage 2 is validated at its last step, so that there are best weights to take over.
    return train(make_config(datalist, tmp_path_factory.mktemp("runs") / "cmc", validation={"every": 4}))


@pytest.mark.slow
def test_a_branch_ends_like_a_run_from_the_beginning(source: RunPaths, datalist: Path, tmp_path: Path) -> None:
    changes = {"method": "supervised", "validation": {"every": 4}}
    whole = train(make_config(datalist, tmp_path / "whole", **changes))
    branch = train(make_config(datalist, tmp_path / "branch", **changes), branch=source.folder)
    assert equal(whole.last, branch.last)
    assert equal(whole.best, branch.best)
    assert whole.best_score.read_text() == branch.best_score.read_text()
    assert not equal(source.last, branch.last)
    assert [line["step"] for line in read_log(branch.log) if line["kind"] == "step"] == [5, 6, 7, 8]


@pytest.mark.slow
def test_a_branch_that_was_stopped_resumes_to_the_same_end(datalist: Path, tmp_path: Path) -> None:
    plain = train(make_config(datalist, tmp_path / "plain")).folder
    whole = train(make_config(datalist, tmp_path / "whole", method="supervised"), branch=plain)
    config = make_config(datalist, tmp_path / "stopped", method="supervised")
    with pytest.raises(KeyboardInterrupt):
        train(config, branch=plain, progress=stop_at(1))
    stopped = train(config, branch=plain, resume=True)
    assert equal(whole.last, stopped.last)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "seed was 0 and is now 1"),
        ({"stages": {"alone": 2, "fused": 3, "semi": 4}}, "stages.fused"),
        ({"method": "mean_teacher"}, "mean_teacher cannot share its first stages"),
    ],
)
def test_what_may_not_differ_is_named(
    source: RunPaths, datalist: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    settings = {"validation": {"every": 4}, **changes}
    with pytest.raises(ConfigError, match=message):
        train(make_config(datalist, tmp_path / "run", **settings), branch=source.folder)
    assert not (tmp_path / "run").exists()


def test_a_run_without_the_checkpoint_is_refused(source: RunPaths, datalist: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run at"):
        train(make_config(datalist, tmp_path / "run"), branch=tmp_path)
    early = tmp_path / "early"
    with pytest.raises(KeyboardInterrupt):
        train(make_config(datalist, early), progress=stop_at(1, stage="stage 2"))
    with pytest.raises(InputError, match="no checkpoint before stage 3"):
        train(make_config(datalist, tmp_path / "run"), branch=early)
