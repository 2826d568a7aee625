"""No extra brings a package under GPL, LGPL or AGPL; what comes near has been looked at, one reason each."""

from __future__ import annotations

import functools
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from tests.licences import Finding, behind, findings, installed, is_copyleft

EXTRAS = ("", "cpu", "cuda", "train", "export", "rtx", "dev", "all")

REVIEWED = {
    # Texts of a GNU licence in a package whose own licence is another.
    ("numpy", "text"): "of libgfortran and libquadmath, see below",
    ("scipy", "text"): "of libgfortran and libquadmath, see below",
    ("openvino", "text"): "oneTBB's notice of the GCC runtime, with its exception",
    ("torch", "text"): "of the tests of a library that its profiler's sources hold; the wheel has no code of it",
    # LGPL-3.0, in the train extra: setuptools carries a copy of autocommand that none of its modules imports; it is the
    # command line of two text helpers. torch asks for setuptools.
    ("setuptools", "text"): "autocommand, vendored, never imported",
    # GPL-3.0 WITH GCC-exception-3.1: programs that a compiler linked with them may have any licence.
    ("numpy", "library", "libgfortran"): "GCC runtime library exception",
    ("scipy", "library", "libgfortran"): "GCC runtime library exception",
    ("scikit-learn", "library", "libgomp"): "GCC runtime library exception",
    ("torch", "library", "libgomp"): "GCC runtime library exception",
    # LGPL-2.1, and the one copyleft library that cannot be avoided: every Linux x86-64 wheel of numpy and scipy carries
    # it beside libgfortran, as a shared library of its own that its user may replace, with its notice.
    ("numpy", "library", "libquadmath"): "LGPL-2.1 shared library of numpy's wheel, replaceable, not linked by us",
    ("scipy", "library", "libquadmath"): "LGPL-2.1 shared library of scipy's wheel, replaceable, not linked by us",
    # Not copyleft, not free: NVIDIA's own terms. Only where a person asks for TensorRT-RTX.
    ("tensorrt-rtx", "proprietary"): "the extra rtx",
    ("tensorrt-rtx-cu13", "proprietary"): "the extra rtx",
    ("tensorrt-rtx-cu13-bindings", "proprietary"): "the extra rtx",
    ("tensorrt-rtx-cu13-libs", "proprietary"): "the extra rtx",
}  # fmt: skip
"""(package, kind) or, of a library, (package, kind, library) → why it may stay."""

NOT_INSTALLED = {"onnxruntime-gpu": "MIT; shares a folder with onnxruntime, so that both cannot be installed"}
PROPRIETARY_EXTRAS = {"rtx", "all"}


def unreviewed(found: list[Finding]) -> list[Finding]:
    keys = [
        (item.package, item.kind, item.what) if item.kind == "library" else (item.package, item.kind) for item in found
    ]
    return [item for item, key in zip(found, keys, strict=True) if key not in REVIEWED]


@functools.cache
def looked_at(path: str | None) -> dict[str, tuple[Distribution, list[Finding]]]:
    return {name: (package, findings(package)) for name, package in installed(path and [path]).items()}


def all_findings(extra: str, path: str | None = None, root: str = "cmc-sdk") -> tuple[list[Finding], set[str]]:
    packages = looked_at(path)
    names, missing = behind(
        [f"{root}[{extra}]" if extra else root], {name: package for name, (package, _) in packages.items()}
    )
    assert names, "nothing was looked at"
    return [item for name in sorted(names) for item in packages[name][1]], missing


def faults(extra: str, path: str | None = None, root: str = "cmc-sdk") -> list[Finding]:
    found, missing = all_findings(extra, path, root)
    return unreviewed(found) + [Finding(name, "missing", "") for name in sorted(missing - set(NOT_INSTALLED))]


@pytest.mark.parametrize("extra", EXTRAS)
def test_no_extra_brings_copyleft_or_a_licence_that_nobody_looked_at(extra: str) -> None:
    assert faults(extra) == []


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - PROPRIETARY_EXTRAS))
def test_proprietary_packages_come_only_with_the_extra_that_is_about_them(extra: str) -> None:
    assert [item for item in all_findings(extra)[0] if item.kind == "proprietary"] == []


def plant(folder: Path, name: str, *, lines: str = "", text: str = "", files: tuple[str, ...] = ()) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{lines}")
    (info / "LICENSE").write_text(text)
    record = [f"{name}-1.0.dist-info/{file}" for file in ("METADATA", "LICENSE")]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in [*record, *files]))


CLASSIFIER = "Classifier: License :: OSI Approved :: "


@pytest.mark.parametrize(
    ("kind", "planted"),
    [
        ("copyleft", {"lines": "License-Expression: GPL-3.0-or-later\n"}),
        ("copyleft", {"lines": "License-Expression: MIT AND LGPL-2.1-only\n"}),
        ("copyleft", {"lines": "License: AGPL v3\n"}),
        ("copyleft", {"lines": f"{CLASSIFIER}GNU Lesser General Public License v2 or later (LGPLv2+)\n"}),
        ("copyleft", {"text": "                GNU GENERAL PUBLIC LICENSE\n           Version 3, 29 June 2007\n"}),
        ("silent", {}),
        ("text", {"lines": "License: MIT\n", "text": "MIT\n\nof a part of it:\n\nGNU AFFERO GENERAL PUBLIC LICENSE\n"}),
        ("text", {"lines": "License: MIT\n", "text": "Name: part\nLicense: LGPL-2.1-or-later\n"}),
        ("library", {"lines": "License: MIT\n", "files": ("planted.libs/libavcodec-1a2b3c4d.so.58.91",)}),
        ("missing", None),
    ],
)
def test_a_planted_package_is_found_through_an_extra_of_a_dependency(
    kind: str, planted: dict[str, str] | None, tmp_path: Path
) -> None:
    plant(tmp_path, "root", lines="License: MIT\nRequires-Dist: middle[more]; extra == 'cpu'\n")
    plant(tmp_path, "middle", lines="License: MIT\nRequires-Dist: planted>=1; extra == 'more'\n")
    if planted is not None:
        plant(tmp_path, "planted", **planted)
    path = str(tmp_path)
    assert [
        (item.package, item.kind) for item in faults("cpu", path, "root") if item.kind != "text" or kind == "text"
    ] == [("planted", kind)]
    assert faults("", path, "root") == []


def test_a_choice_of_licences_is_no_fault_and_neither_is_a_packages_word_about_another(tmp_path: Path) -> None:
    assert not is_copyleft("FTL OR GPL-2.0-or-later")
    assert is_copyleft("GPL-2.0-only OR LGPL-3.0-only")
    mozilla = (
        'Mozilla Public License Version 2.0\n"Secondary License" means the GNU General Public License, Version 2.0'
    )
    plant(tmp_path, "root", lines="License-Expression: MPL-2.0\n", text=mozilla)
    assert faults("", str(tmp_path), "root") == []
