"""OpenVINO is kept to AVX2 only in a process of ours that computes in FP32 alone."""

from __future__ import annotations

import os

import pytest

from cmc_sdk.cli.main import cmc as group
from cmc_sdk.environment import INSTRUCTIONS_VARIABLE, instruction_limit
from cmc_sdk.runtime.backends import instructions


@pytest.fixture(autouse=True)
def zen4(monkeypatch):
    monkeypatch.setattr(instructions, "is_zen4", lambda: True)
    monkeypatch.setenv(INSTRUCTIONS_VARIABLE, "to be put back")
    monkeypatch.delenv(INSTRUCTIONS_VARIABLE)


def test_avx2_where_it_is_faster():
    instructions.prefer_for_f32()
    assert instruction_limit() == "AVX2"


def test_a_value_of_the_user_stays(monkeypatch):
    monkeypatch.setenv(INSTRUCTIONS_VARIABLE, "AVX512_CORE")
    instructions.prefer_for_f32()
    assert instruction_limit() == "AVX512_CORE"


def test_other_processors_are_left_alone(monkeypatch):
    monkeypatch.setattr(instructions, "is_zen4", lambda: False)
    instructions.prefer_for_f32()
    assert instruction_limit() is None


@pytest.mark.parametrize(
    ("precisions", "own", "expected"),
    [
        (["f32"], True, "AVX2"),
        (["f32"], False, None),
        (["bf16"], True, None),
        (["f32", "int8"], True, None),
        (["fastest"], True, None),
    ],
)
def test_only_a_process_of_ours_in_f32(precisions, own, expected):
    from cmc_sdk.cli.options.backend_options import prefer_instructions

    with group.make_context("cmc", ["doctor"], obj={"own_process": own}):
        prefer_instructions(precisions)
    assert os.environ.get(INSTRUCTIONS_VARIABLE) == expected
