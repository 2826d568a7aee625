"""The rooms between a scan and its result: each knows only those below it, and is entered by its doors alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_house import ROOT, imported_modules, python_files

BELOW = {
    "output": {"results"},
    "planning": {"labelling", "scans", "backends", "host", "core"},
    "labelling": {"results", "scans", "backends", "core"},
    "results": {"scans", "core"},
    "scans": {"core"},
}
"""planning → labelling → results → scans → what computes. Both first ones share the plan's and the windows' types."""

DOORS = {"planning": {"planner", "limits", "run_plan"}, "labelling": {"run", "windows", "window_plan"}}
INSIDE = {"planning": {"planning"}, "labelling": {"labelling", "planning"}}
"""Who may enter by any way: planning measures what runs in a run, so it shares labelling's queue and runner."""

ASKED = {"best_streams", "set_streams"}
"""How a backend is asked for its streams, wherever that stands."""


def names_in_runtime(path: Path) -> set[tuple[str, ...]]:
    """What a file imports of the runtime, each without `cmc_sdk.runtime`."""
    return {
        tuple(module.split(".")[2:])
        for module in imported_modules(path)
        if module.startswith("cmc_sdk.runtime.") and module.split(".")[2:]
    }


@pytest.mark.parametrize("room", sorted(BELOW))
def test_a_room_knows_only_those_below_it(room: str) -> None:
    files = python_files(f"runtime/{room}")
    assert files
    for path in files:
        above = {name[0] for name in names_in_runtime(path)} - {room} - BELOW[room]
        assert not above, f"{path}: {room} may not know {sorted(above)}"


@pytest.mark.parametrize("room", sorted(DOORS))
def test_a_room_is_entered_by_its_doors(room: str) -> None:
    files = [path for place in ("runtime", "training", "export", "cmc_sdk/cli") for path in python_files(place)]
    entered = set()
    for path in files:
        if path.is_relative_to(ROOT / "runtime") and path.relative_to(ROOT / "runtime").parts[0] in INSIDE[room]:
            continue
        names = names_in_runtime(path)
        asked = {name[:-1] for name in names if name[-1] in ASKED}
        used = {name[1] for name in names - asked if name[0] == room and len(name) > 1 and name[-1] not in ASKED}
        assert used <= DOORS[room], f"{path}: enters {room} by {sorted(used - DOORS[room])}"
        entered |= used
    assert entered == DOORS[room]
