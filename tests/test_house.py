"""The house: rooms and who may know whom, no circles, sizes, one home for one thing, and what is installed."""

from __future__ import annotations

import importlib
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.house import ROOMS, House, Layers

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
HOUSE = House(ROOT)

LAYERS: dict[str, Layers] = {
    "cmc_sdk": (
        ("cli",),
        ("export",),
        ("training",),
        ("runtime",),
        ("bundle",),
        ("imaging",),
        ("atomic",),
        ("environment", "errors", "pages", "pairing", "progress", "strict_model", "threads", "version"),
    ),
    "cmc_sdk.imaging": (
        ("read",),
        ("nifti",),
        ("nifti_header",),
        ("nifti_affine",),
        ("dicom", "geometry", "labels", "nifti_stream", "orientation"),
        ("classes", "gzip_parts", "nifti_block", "volume"),
    ),
    "cmc_sdk.imaging.dicom": (
        ("choosing", "deidentify", "writing"),
        ("checking", "reading"),
        ("quiet", "refusal", "source", "tags"),
    ),
    "cmc_sdk.runtime": (
        ("benchmark",),
        ("gate", "session"),
        ("segmenter",),
        ("planning",),
        ("labelling", "output"),
        ("doctor", "results"),
        ("backends", "scans"),
        ("core", "host", "onnx"),
    ),
    "cmc_sdk.training": (
        ("engine",),
        ("evaluation", "methods"),
        ("configs", "data", "losses", "model"),
    ),
    "cmc_sdk.export": (
        ("bundle",),
        ("editions_of",),
        ("int8",),
        ("draft", "precision"),
        ("cases", "editions", "released"),
        ("graphs", "parity"),
        ("first_difference", "golden", "onnx_file", "provenance", "translations"),
    ),
    "cmc_sdk.cli": (
        ("__main__",),
        ("main",),
        (
            "bench",
            "bundle",
            "data",
            "demo",
            "doctor",
            "engine",
            "evaluate",
            "export",
            "infer",
            "info",
            "train",
            "verify",
        ),
        ("options",),
        ("terminal",),
    ),
}
"""By package, its parts from the top down: each may import those below it, and nothing beside or above it."""

DOORS: dict[str, tuple[set[str], set[str]]] = {
    "cmc_sdk.runtime.planning": ({"planner", "limits", "run_plan"}, set()),
    "cmc_sdk.runtime.labelling": ({"label_scans", "sampled_windows", "window_plan"}, {"cmc_sdk.runtime.planning"}),
}
"""Rooms that others enter by some modules only, and who may enter by any: planning measures what runs in a run."""

REPEATED: dict[str, str] = {
    "base": "the base class of a room's kind of thing: a backend, a method",
    "catalogue": "one row a thing of the room's kind: backends, methods",
    "child": "the program of a child process, beside the module that starts it",
    "config": "each room of training has the settings of its own; the engine's holds the others",
    "doctor": "a command, and the module that does its work",
    "edition": "one edition of a bundle's graphs: FP16, int8",
    "evaluate": "a command, and the module that does its work",
    "geometry": "grids as the headers of files say them; the core's model grids",
    "golden": "the export makes the golden cases, the gate reads them",
    "graphs": "the export writes a network's graphs, a backend opens them",
    "page": "the page of a benchmark; the page of a result",
    "released": "the released code's data lists, network, and graph",
    "supervised": "a loss, and the method that has no other",
    "verify": "a command, and the module that does its work",
}
"""Basenames that stand in several folders, and why nobody takes one for the other."""

MOST_MODULES = 20
LEAN = ("runtime", "cmc_sdk/imaging", "cmc_sdk/bundle", "cmc_sdk/pages", "cmc_sdk/cli/infer.py")
HEAVY = {"torch", "monai", "onnx", "lightning", "lightning_fabric", "scipy", "matplotlib", "yaml"}
METHOD = "the name of a method: ask for a trait of it in training/methods instead"
BACKEND = "the name of a backend: ask for a trait of its row in runtime/backends/catalogue.py instead"


def test_no_module_imports_itself_by_way_of_another() -> None:
    assert HOUSE.circles() == []


@pytest.mark.parametrize("package", sorted(LAYERS))
def test_imports_go_down_the_layers(package: str) -> None:
    assert HOUSE.upward(package, layers=LAYERS[package]) == []


@pytest.mark.parametrize("room", sorted(DOORS))
def test_a_room_is_entered_by_its_doors(room: str) -> None:
    doors, trusted = DOORS[room]
    entered = set()
    for name, imported in HOUSE.imports.items():
        if HOUSE.part(name, of=room) is None and not any(HOUSE.part(name, of=other) for other in trusted):
            used = {part for other in imported if (part := HOUSE.part(other, of=room)) is not None}
            assert used <= doors, f"{name} enters {room} by {sorted(used - doors)}"
            entered |= used
    assert entered == doors


def test_what_is_imported_of_ours_exists() -> None:
    assert HOUSE.broken() == []


def test_every_public_name_is_where_its_package_says() -> None:
    packages = [name for name, path in HOUSE.modules.items() if path.name == "__init__.py"]
    lost = []
    for package in packages:
        module = importlib.import_module(package)
        lost += [f"{package}.{name}" for name in getattr(module, "__all__", ()) if not hasattr(module, name)]
    assert lost == []


def test_a_room_is_imported_under_cmc_sdk() -> None:
    for name in HOUSE.modules:
        bare = {word for word in HOUSE.named(name) if word.partition(".")[0] in ROOMS}
        assert not bare, f"{name} imports {sorted(bare)} bare"


def test_a_folder_holds_at_most_20_modules() -> None:
    assert HOUSE.crowded(most=MOST_MODULES) == {}


def test_a_basename_repeats_only_where_it_may() -> None:
    found = HOUSE.repeated_basenames()
    assert {stem: paths for stem, paths in found.items() if stem not in REPEATED} == {}
    assert sorted(set(REPEATED) - set(found)) == [], "no longer repeated: take it off the list"


def test_types_are_checked_everywhere() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert settings["strict"] is True
    relaxed = {"ignore_errors", "follow_imports", "disable_error_code", "exclude"}
    assert relaxed.isdisjoint(settings)
    assert not [item for item in settings.get("overrides", ()) if relaxed & set(item)]


def test_type_checkers_see_every_room_as_it_is_installed() -> None:
    for room in ROOMS:
        assert (ROOT / "cmc_sdk" / room).resolve() == ROOT / room


def test_a_methods_name_is_compared_only_among_the_methods() -> None:
    from cmc_sdk.training.methods.catalogue import METHODS

    assert HOUSE.compared_words(dict.fromkeys(METHODS, METHOD), outside="training/methods") == []


def test_a_backends_name_is_compared_only_among_the_backends() -> None:
    from cmc_sdk.runtime.backends.catalogue import CATALOGUE

    assert HOUSE.compared_words(dict.fromkeys(CATALOGUE, BACKEND), outside="runtime/backends") == []


def test_environment_variables_are_read_in_one_place() -> None:
    uses = [place for name in ("environ", "getenv", "putenv") for place in HOUSE.uses(name, of="os")]
    assert {place.partition(":")[0] for place in uses} == {"cmc_sdk/environment.py"}


@pytest.mark.parametrize(
    "place", ["runtime", "cmc_sdk/imaging", "cmc_sdk/bundle", "cmc_sdk/pages", "cmc_sdk/cli/infer.py"]
)
def test_lean_places_import_nothing_heavy(place: str) -> None:
    names = [name for name, path in HOUSE.modules.items() if path.is_relative_to(ROOT / place)]
    assert names
    for name in names:
        heavy = HOUSE.outside(name) & HEAVY
        assert not heavy, f"{name} imports {sorted(heavy)}"


def test_tests_stand_where_what_they_test_stands() -> None:
    """A folder of tests is a folder of the source, but for the mathematics to compare with."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    places = {Path("."), *(Path(HOUSE.folder(name)) for name in HOUSE.modules)}
    places |= {place.relative_to("cmc_sdk") for place in places if place.parts[:1] == ("cmc_sdk",)}
    assert sorted(map(str, folders - places - {Path("reference"), Path("data")})) == []


def test_runtime_imports_with_torch_monai_and_onnx_absent() -> None:
    program = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'torch', 'monai', 'onnx', 'scipy', 'lightning', 'openvino'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "import cmc_sdk.runtime, cmc_sdk.runtime.session\n"
        "from cmc_sdk import Session, read_volume, write_volume\n"
        "print(Session.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Session"


def test_nothing_generic_lands_in_site_packages() -> None:
    # Only the environment: a checkout on sys.path carries metadata of its own.
    (installed,) = distributions(name="cmc-sdk", path=[sysconfig.get_paths()["purelib"]])
    files = [str(file) for file in installed.files or []]
    assert files
    assert not [file for file in files if file.split("/")[0] in ROOMS]


def test_no_module_is_over_400_lines() -> None:
    others = [path for place in ("tests", "benchmarks") for path in (ROOT / place).rglob("*.py")]
    long = {str(path): len(path.read_text().splitlines()) for path in [*HOUSE.modules.values(), *others]}
    assert {path: lines for path, lines in long.items() if lines > 400} == {}


def test_every_room_is_packed() -> None:
    packed = (ROOT / "pyproject.toml").read_text()
    for room in sorted(ROOMS):
        assert f'"cmc_sdk/{room}" = "{room}"' in packed, f"{room} is not in pyproject's packages"


@pytest.mark.slow
def test_a_wheel_and_an_sdist_build_and_hold_what_they_should(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "cmc_sdk",
        wheel.name.split("-py")[0].split("-cp")[0] + ".dist-info",
    }
    for place in ("cmc_sdk", *ROOMS):
        for path in (ROOT / place).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            assert (name if place == "cmc_sdk" else f"cmc_sdk/{name}") in names
    assert any(name.startswith("cmc_sdk/runtime/core/_native.") and name.endswith(".so") for name in names)
    assert "cmc_sdk/training/configs/tiny.yaml" in names
    assert "cmc_sdk/py.typed" in names
    assert "cmc_sdk/pages/style.css" in names
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        tops = {"/".join(name.split("/")[1:2]) for name in archive.getnames()}
    assert {"cpp_bindings", "cmc_sdk", "training", "runtime", "export", "LICENSE"} <= tops
    assert not tops & {"tests", "build", ".ci", "benchmarks"}


def planted(tmp_path: Path, files: dict[str, str]) -> House:
    """A small house with a fault in it."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return House(tmp_path)


def test_a_circle_inside_a_function_is_seen(tmp_path: Path) -> None:
    files = {
        "runtime/a.py": "from cmc_sdk.runtime.b import f\n",
        "runtime/b.py": "def f():\n    from cmc_sdk.runtime import c\n",
        "runtime/c.py": "import typing\nif typing.TYPE_CHECKING:\n    import cmc_sdk.runtime.a\n",
    }
    (circle,) = planted(tmp_path, files).circles()
    assert circle == ("cmc_sdk.runtime.a", "cmc_sdk.runtime.b", "cmc_sdk.runtime.c")


def test_an_arrow_upward_or_sideways_is_seen(tmp_path: Path) -> None:
    files = {
        "runtime/high/a.py": "",
        "runtime/low/b.py": "def f():\n    import importlib\n    importlib.import_module('cmc_sdk.runtime.high.a')\n",
        "runtime/beside.py": "from cmc_sdk.runtime.low import b\n",
        "runtime/new.py": "",
    }
    wrong = planted(tmp_path, files).upward("cmc_sdk.runtime", layers=(("high",), ("low", "beside", "gone")))
    assert wrong == [
        "cmc_sdk.runtime.new stands in no layer",
        "cmc_sdk.runtime.gone is in the layers and does not exist",
        "cmc_sdk.runtime.beside -> cmc_sdk.runtime.low.b",
        "cmc_sdk.runtime.low.b -> cmc_sdk.runtime.high.a",
    ]


def test_a_21st_module_is_seen(tmp_path: Path) -> None:
    house = planted(tmp_path, {f"training/methods/m{number}.py": "" for number in range(21)})
    assert house.crowded(most=MOST_MODULES) == {"training/methods": 21}


@pytest.mark.parametrize(
    "test",
    ["x == 'cps'", "x in ('cmc', 'cps')", "'cps' != x", "x in {'cps'}", "x in ['a', 'cps']"],
)
def test_a_methods_name_outside_the_methods_is_seen(tmp_path: Path, test: str) -> None:
    files = {"training/engine/a.py": f"def f(x):\n    return {test}\n", "training/methods/b.py": "x = 'cps' == 'cps'\n"}
    house = planted(tmp_path, files)
    (found,) = house.compared_words({"cps": METHOD}, outside="training/methods")
    assert found.startswith("training/engine/a.py:2 compares with 'cps'")


def test_a_methods_name_in_a_case_is_seen(tmp_path: Path) -> None:
    house = planted(
        tmp_path, {"cmc_sdk/cli/a.py": "def f(x):\n    match x:\n        case 'cps':\n            return 1\n"}
    )
    assert len(house.compared_words({"cps": METHOD}, outside="training/methods")) == 1


def test_an_environment_variable_read_elsewhere_is_seen(tmp_path: Path) -> None:
    assert planted(tmp_path, {"export/a.py": "import os\nx = os.environ\n"}).uses("environ", of="os") == [
        "export/a.py:2"
    ]
