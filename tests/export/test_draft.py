"""A bundle in the making."""

from __future__ import annotations

from cmc_sdk.export.draft import Draft
from cmc_sdk.runtime.backends.catalogue import CATALOGUE


def test_a_pass_of_every_backend_can_be_noted() -> None:
    draft = Draft(fields={}).passed("f32", backends=list(CATALOGUE), report={"passed": True})
    assert [item.backend for item in draft.passes] == list(CATALOGUE)
    assert draft.reports == {"f32": {"passed": True}}
