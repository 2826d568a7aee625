"""kill -9 while training and while a checkpoint is written: what stands is whole, and the resumed run ends the same."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cmc_sdk.training import train
from cmc_sdk.training.engine import dump_config
from cmc_sdk.training.engine.checkpoint import load_checkpoint
from tests.training.engine.study import make_config, start

pytestmark = pytest.mark.slow

TRAIN = """
import sys, torch
torch.set_num_threads(1)
from cmc_sdk.training.engine import load_config, train
train(load_config(sys.argv[1]), resume=sys.argv[2] == "resume")
"""

# One checkpoint is cut off after a third of its bytes: kill -9 comes in the middle of a write.
HALF_A_CHECKPOINT = (
    """
import os, signal, sys
from safetensors.torch import save
from cmc_sdk.training.engine import checkpoint
count = 0
genuine = checkpoint.save_file
def cut(tensors, path, metadata=None):
    global count
    count += 1
    if count == int(sys.argv[3]):
        content = save(tensors, metadata)
        with open(path, "wb") as handle:
            handle.write(content[: len(content) // 3])
            handle.flush()
            os.fsync(handle.fileno())
            os.kill(os.getpid(), signal.SIGKILL)
    genuine(tensors, path, metadata=metadata)
checkpoint.save_file = cut
"""
    + TRAIN
)
STAGES = {"alone": 4, "fused": 4, "semi": 40}


def same(a: Path, b: Path) -> bool:
    first, second = load_file(a), load_file(b)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


# At step 8 the checkpoint for branches is written first, then the run's own.
@pytest.mark.parametrize(("write", "name"), [(2, "before_stage_3"), (3, "last")])
def test_killed_while_training_and_while_writing(datalist: Path, tmp_path: Path, write: int, name: str) -> None:
    changes = {"stages": STAGES, "validation": {"every": 20}, "checkpoint_every": 4}
    whole = train(make_config(datalist, tmp_path / "whole", **changes))
    config = make_config(datalist, tmp_path / "run", **changes)
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    last = tmp_path / "run" / "checkpoints" / "last.safetensors"

    process = start(HALF_A_CHECKPOINT, file, "new", str(write))
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert load_checkpoint(last).state["step"] == 4
    assert (
        len(list(last.parent.glob(f".*.{name}.safetensors"))) == 1
    )  # the third of a checkpoint, under no name of ours

    process = start(TRAIN, file, "resume")
    until = time.monotonic() + 120
    while load_checkpoint(last).state["step"] < 16 and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert load_checkpoint(last).state["step"] >= 16

    process = start(TRAIN, file, "resume")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    assert same(last, whole.last)
    assert same(tmp_path / "run" / "checkpoints" / "best.safetensors", whole.best)
    assert list(last.parent.glob(".*")) == []
