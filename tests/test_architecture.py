"""ARCHITECTURE.md and CONTRIBUTING.md name only what exists, and answer what a newcomer asks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md")

PLACE = re.compile(r"`([A-Za-z_.][\w.-]*(?:/[\w.-]+)*/?)(?:::(\w+(?:\.\w+)*))?`")
"""A file or a folder between backticks, and what it defines."""

QUESTIONS = (
    "where is a window's air reused?",
    "where is a label file written?",
    "where is the gate's limit?",
    "where does the missing token live?",
    "where is the b-value read?",
    "what do I touch for one more backend?",
    "what do I touch for a new method?",
)


def places(page: str) -> list[tuple[str, str | None]]:
    """(path, symbol) of everything in a page that looks like a place in the checkout."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    found = [(path, symbol or None) for path, symbol in PLACE.findall(text)]
    return [(path, symbol) for path, symbol in found if symbol or "/" in path or path.endswith((".md", ".py", ".toml"))]


def defines(path: Path, symbol: str) -> bool:
    """Whether a source file defines `Class`, `function`, `CONSTANT` or `Class.method`."""
    body: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    *outer, last = symbol.split(".")
    for name in outer:
        body = next((node.body for node in body if isinstance(node, ast.ClassDef) and node.name == name), [])
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return last in names


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    found = places(page)
    assert len(found) > 20
    missing = []
    for path, symbol in found:
        if not (ROOT / path).exists():
            missing.append(path)
        elif symbol is not None and not defines(ROOT / path, symbol):
            missing.append(f"{path}::{symbol}")
    assert missing == []


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_with_a_place(question: str) -> None:
    rows = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()
    (row,) = (row for row in rows if row.startswith(f"| {question} |"))
    answer = row.split("|")[2]
    assert [place for place in PLACE.findall(answer) if place[1]], f"no place in the answer to {question}"


def test_every_room_is_on_the_map() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = [path for path in (ROOT / "runtime").iterdir() if path.is_dir() and (path / "__init__.py").is_file()]
    assert rooms
    assert [room.name for room in rooms if f"`runtime/{room.name}/`" not in text] == []


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [("House", True), ("House.circles", True), ("ROOMS", True), ("House.nothing", False), ("Nothing", False)],
)
def test_a_name_that_is_gone_is_seen(symbol: str, expected: bool) -> None:
    assert defines(ROOT / "tests" / "house.py", symbol) is expected
