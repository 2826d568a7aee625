"""Who may know whom under imaging/dicom; imports inside functions and for type checkers count."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PLACE = Path(__file__).parents[3] / "cmc_sdk/imaging/dicom"
NAME = "cmc_sdk.imaging.dicom."
TOP = {"quiet", "refusal", "source", "tags"}
ALLOWED = {
    "quiet": set(),
    "refusal": set(),
    "source": set(),
    "tags": set(),
    "reading": TOP,
    "choosing": {"reading", "refusal"},
    # Independent of the writers and of the readers: what they get wrong, it must not get wrong with them.
    "checking": {"source"},
    "writing": {"checking", "source", "tags"},
    "deidentify": {"reading", "quiet", "tags"},
}


def known_to(part: str) -> set[str]:
    """The other parts that a part of imaging/dicom imports."""
    path = PLACE / f"{part}.py"
    files = [path] if path.is_file() else sorted((PLACE / part).rglob("*.py"))
    assert files
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if names == [NAME.rstrip(".")]:
                names = [NAME + alias.name for alias in node.names]
            found |= {name.removeprefix(NAME).split(".")[0] for name in names if name.startswith(NAME)}
    return found - {part}


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_parts_know_only_whom_they_may(part: str):
    assert known_to(part) <= ALLOWED[part]


def test_every_part_has_its_place():
    names = {path.stem if path.is_file() else path.name for path in PLACE.iterdir()}
    assert names - {"__init__", "__pycache__"} == set(ALLOWED)


def test_no_two_parts_know_each_other():
    arrows = {part: known_to(part) for part in ALLOWED}
    assert any(arrows.values())
    left = dict(arrows)
    while free := [part for part, known in left.items() if not known & set(left)]:
        for part in free:
            del left[part]
    assert left == {}
