from __future__ import annotations

import numpy as np
import pytest

from cmc_sdk.training.data.randomness import random_generator

PINNED = [831077790, 3284967281, 1014750128]
BASE = {"seed": 1, "step": 2, "sample": 3, "purpose": "spatial"}


def test_equal_arguments_give_equal_draws_whatever_ran_before():
    np.random.default_rng().random(10)
    first = random_generator(1, step=2, sample=3, purpose="spatial").random(8)
    second = random_generator(1, step=2, sample=3, purpose="spatial").random(8)
    np.testing.assert_array_equal(first, second)


def test_draws_are_pinned_so_that_runs_of_other_versions_can_be_repeated():
    drawn = random_generator(0, step=0, sample=0, purpose="test").integers(0, 2**32, size=3)
    assert drawn.tolist() == PINNED


@pytest.mark.parametrize("change", [{"seed": 2}, {"step": 3}, {"sample": 2}, {"purpose": "place"}, {"seed": -1}])
def test_every_argument_matters(change):
    arguments = {**BASE, **change}
    other = random_generator(arguments.pop("seed"), **arguments).random(8)
    assert not np.array_equal(other, random_generator(1, step=2, sample=3, purpose="spatial").random(8))


def test_neighbouring_digits_do_not_run_together():
    assert (
        random_generator(1, step=12, sample=3, purpose="a").random()
        != random_generator(1, step=1, sample=23, purpose="a").random()
    )
