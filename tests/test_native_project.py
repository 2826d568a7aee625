"""The C++ project: every source is listed in its folder's CMakeLists.txt, and headers have a name of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NATIVE = ROOT / "cpp_bindings"
ROOMS = sorted(path.parent.name for path in NATIVE.glob("*/CMakeLists.txt"))


def listed_sources(folder: Path) -> set[str]:
    """Sources that a folder's CMakeLists.txt names, outside of its comments."""
    text = re.sub(r"#.*", "", (folder / "CMakeLists.txt").read_text())
    return set(re.findall(r"[\w./-]+\.cc\b", text))


def test_all_rooms_of_the_native_project_are_seen() -> None:
    assert {"core", "python", "tests"} <= set(ROOMS)
    with_sources = {path.relative_to(NATIVE).parts[0] for path in NATIVE.rglob("*.cc")}
    assert with_sources <= set(ROOMS), "a folder with C++ sources has no CMakeLists.txt"


@pytest.mark.parametrize("room", ROOMS)
def test_every_source_is_listed_and_every_listed_source_exists(room: str) -> None:
    folder = NATIVE / room
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.cc")}
    assert there
    assert listed_sources(folder) == there


def test_no_list_of_sources_is_globbed() -> None:
    projects = [ROOT / "CMakeLists.txt", *NATIVE.rglob("CMakeLists.txt"), *NATIVE.rglob("*.cmake")]
    assert len(projects) > len(ROOMS)
    assert [str(path) for path in projects if re.search(r"file\s*\(\s*GLOB", path.read_text(), re.IGNORECASE)] == []


@pytest.mark.parametrize("room", ROOMS)
def test_headers_stand_in_a_folder_with_the_projects_name_and_so_do_their_guards(room: str) -> None:
    folder = NATIVE / room
    headers = sorted(folder.rglob("*.h"))
    assert headers
    for path in headers:
        assert path.parent == folder / "include" / f"cmc_{room}", path
        guard = f"CMC_{room}_{path.stem}_H_".upper()
        assert f"#ifndef {guard}\n#define {guard}\n" in path.read_text(), f"{path}: its guard is not {guard}"


def test_includes_name_the_room_they_come_from() -> None:
    paths = [path for pattern in ("*.cc", "*.h", "*.inc") for path in NATIVE.rglob(pattern)]
    for path in paths:
        for included in re.findall(r'#include "([^"]+)"', path.read_text()):
            own = included.endswith(".inc") and (path.parent / included).is_file()
            room = included.split("/")[0].removeprefix("cmc_")
            assert own or (NATIVE / room / "include" / included).is_file(), f"{path} includes {included}"
