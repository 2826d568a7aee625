"""pydicom says nothing inside the block, and what it said before, after it."""

from __future__ import annotations

import logging
import warnings

import pytest

from cmc_sdk.imaging.dicom.quiet import quiet_pydicom


def speak() -> None:
    warnings.warn("a patient's name", stacklevel=1)
    logging.getLogger("pydicom").warning("a patient's name")
    logging.getLogger("highdicom").warning("a patient's name")


def test_nothing_is_warned_of_or_logged_inside(caplog: pytest.LogCaptureFixture):
    with warnings.catch_warnings(record=True) as warned, quiet_pydicom():
        speak()
    assert warned == []
    assert caplog.records == []


def test_everything_is_as_before_once_blocks_that_overlap_have_ended(caplog: pytest.LogCaptureFixture):
    first, second = quiet_pydicom(), quiet_pydicom()
    with warnings.catch_warnings(record=True):  # overlapping blocks may leave the warnings' filters in any order
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        logging.getLogger("pydicom").warning("still inside the second")
        assert caplog.records == []
        second.__exit__(None, None, None)
        logging.getLogger("pydicom").warning("outside")
    assert [record.message for record in caplog.records] == ["outside"]
    assert not logging.getLogger("pydicom").filters
