"""The arrows between the rooms, the size of files, and what is installed."""

from __future__ import annotations

import ast
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"training": ROOT / "training", "export": ROOT / "export", "runtime": ROOT / "runtime"}
ALLOWED = {
    "runtime": {"runtime"},
    "training": {"training", "runtime"},
    "export": {"export", "training", "runtime"},
    "cmc_sdk/imaging": set(),
    "cmc_sdk/bundle": set(),
    "cmc_sdk/pages": set(),
    "cmc_sdk/errors.py": set(),
    "cmc_sdk/atomic.py": set(),
    "cmc_sdk/settings.py": set(),
}
HEAVY = {"torch", "monai", "onnx", "lightning", "lightning_fabric", "scipy", "matplotlib", "yaml"}


def imported_modules(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def python_files(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("place", sorted(ALLOWED))
def test_rooms_know_only_whom_they_may(place: str) -> None:
    files = python_files(place)
    assert files
    for path in files:
        for module in imported_modules(path):
            parts = module.split(".")
            assert parts[0] not in ROOMS, f"{path}: imports {module} bare"
            if parts[0] == "cmc_sdk" and len(parts) > 1:
                assert parts[1] != "cli" or place in ROOMS, f"{path}: imports {module}"
                if parts[1] in ROOMS:
                    assert parts[1] in ALLOWED[place], f"{path}: {place} may not know {module}"


@pytest.mark.parametrize(
    "place", ["runtime", "cmc_sdk/imaging", "cmc_sdk/bundle", "cmc_sdk/pages", "cmc_sdk/cli/infer.py"]
)
def test_lean_places_import_nothing_heavy(place: str) -> None:
    for path in python_files(place):
        heavy = {module for module in imported_modules(path) if module.split(".")[0] in HEAVY}
        assert not heavy, f"{path}: imports {sorted(heavy)}"


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
    places = ["cmc_sdk", "training", "export", "runtime", "tests", "benchmarks"]
    long = {str(path): len(path.read_text().splitlines()) for place in places for path in python_files(place)}
    assert long
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
