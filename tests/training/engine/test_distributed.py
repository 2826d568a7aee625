"""Two processes under torchrun (gloo) against one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from cmc_sdk.training.engine import dump_config
from tests.training.engine import gradients
from tests.training.engine.study import make_config, start

pytestmark = pytest.mark.slow


def test_two_processes_give_the_gradients_of_one_and_train_to_the_end(datalist: Path, tmp_path: Path) -> None:
    config = make_config(datalist, tmp_path / "run", stages={"alone": 2, "fused": 1, "semi": 4})
    (tmp_path / "config.yaml").write_text(dump_config(config))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", gradients.__file__)
    process = start("", tmp_path / "config.yaml", tmp_path / "gradients", launcher=launcher)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    for step in gradients.STEPS:
        one = gradients.gradients_of(config, step=step)
        two = load_file(tmp_path / f"gradients.{step}")
        assert gradients.relative_difference(two, one) <= 1e-6
    rows = json.loads((tmp_path / "run" / "summary.json").read_text())["validated_subsets"]
    assert [row["cases"] for row in rows] == [2, 2, 2]
    assert (tmp_path / "run" / "report.html").is_file()
