"""Which packages are named, and in which version they are installed."""

from __future__ import annotations

import numpy as np

from cmc_sdk.runtime.host.packages import COMPUTING, PACKAGES, installed_version


def test_what_computes_is_among_what_is_named() -> None:
    assert set(COMPUTING) < set(PACKAGES)


def test_the_version_of_what_is_installed_and_of_what_is_not() -> None:
    assert installed_version("numpy") == np.__version__
    assert installed_version("no-such-distribution-of-cmc") is None
