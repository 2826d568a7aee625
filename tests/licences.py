"""Which licences the packages behind an extra have: what their metadata, licence texts and shared libraries say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

COPYLEFT = re.compile(
    r"\b(?:[AL]?GPL(?:v?\d|\b)|(?:GNU )?(?:Lesser |Library |Affero )?General Public Licen[cs]e)", re.I
)
HEADING = re.compile(r"^\s*GNU\s+(?:(?:LESSER|LIBRARY|AFFERO)\s+)?GENERAL\s+PUBLIC\s+LICENSE\s*$", re.M | re.I)
NAMED = re.compile(r"^\s*Licen[cs]e:(.*)$", re.M | re.I)
LICENCE_FILE = re.compile(r"licen[cs]e|copying|notice|third.?party", re.I)
LIBRARY = re.compile(r"(?:^|/)(lib[A-Za-z0-9_+]+?)(?:-[0-9a-f]{8})*\.(?:so|dylib|dll)[^/]*$")
RUNTIMES = (
    "libgomp",
    "libgfortran",
    "libquadmath",
    "libfribidi",
    "libavcodec",
    "libx264",
    "libQt",
    "libglib",
    "libusb",
)
"""Shared libraries under a copyleft licence that wheels are known to carry along."""
FIRST_LINES = 5


@dataclass(frozen=True)
class Finding:
    """One thing about a package that a person must have looked at.

    Args:
        package: Its normalised name.
        kind: `copyleft`, `proprietary`, `silent` (no licence is stated), `text` (a licence text in it is a GNU one) or
            `library` (a shared library in it is under a copyleft licence).
        what: What was found where.
    """

    package: str
    kind: str
    what: str


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(path: Sequence[str] | None = None) -> dict[str, Distribution]:
    """Every installed package by its normalised name; of `path`, or of this environment."""
    found = distributions() if path is None else distributions(path=list(path))
    packages: dict[str, Distribution] = {}
    for item in found:
        packages.setdefault(normalised(item.metadata["Name"]), item)
    return packages


def behind(requirements: Sequence[str], packages: Mapping[str, Distribution]) -> tuple[set[str], set[str]]:
    """Names of all packages that `requirements` lead to on this platform, and of those that are not installed."""
    found: set[str] = set()
    missing: set[str] = set()
    open_ = [Requirement(item) for item in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while open_:
        requirement = open_.pop()
        name, extras = normalised(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name not in packages:
            missing.add(name)
            continue
        found.add(name)
        open_ += [item for item in map(Requirement, packages[name].requires or []) if applies(item, extras)]
    return found, missing


def applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": item}) for item in {"", *extras})


def stated_licence(package: Distribution) -> str | None:
    """What a package says of itself: the expression, else classifiers and the first lines of the licence, or None."""
    metadata = package.metadata
    if metadata.get("License-Expression"):
        return str(metadata["License-Expression"])
    words = [item.removeprefix("License :: ") for item in metadata.get_all("Classifier") or () if item[:7] == "License"]
    text = (metadata.get("License") or "").strip().splitlines()[:FIRST_LINES]
    if not words and not text:
        text = [line for _, body in licence_texts(package) for line in body.strip().splitlines()[:FIRST_LINES]]
    return "; ".join([*words, *(line.strip() for line in text if line.strip())]) or None


def licence_texts(package: Distribution) -> Iterator[tuple[str, str]]:
    for file in package.files or ():
        if LICENCE_FILE.search(file.name) and file.suffix not in {".py", ".pyc", ".h", ".so"}:
            path = Path(file.locate())
            if path.is_file():
                yield file.as_posix(), path.read_text(encoding="utf-8", errors="replace")


def is_copyleft(statement: str) -> bool:
    """Whether every choice that a statement leaves is under GPL, LGPL or AGPL: `MIT OR GPL-2.0` is a choice."""
    return all(COPYLEFT.search(choice) for choice in re.split(r"\s+OR\s+", statement))


def findings(package: Distribution) -> list[Finding]:
    """All that must be reviewed about one package."""
    name = normalised(package.metadata["Name"])
    statement = stated_licence(package)
    found = []
    if statement is None:
        found.append(Finding(name, "silent", "no licence in its metadata, and no licence file"))
    elif is_copyleft(statement):
        found.append(Finding(name, "copyleft", statement))
    elif "proprietary" in statement.lower():
        found.append(Finding(name, "proprietary", statement))
    for file, text in licence_texts(package):
        if HEADING.search(text) or any(COPYLEFT.search(line) and is_copyleft(line) for line in NAMED.findall(text)):
            found.append(Finding(name, "text", file.rpartition(".dist-info/")[2]))
    libraries = {match[1] for file in package.files or () if (match := LIBRARY.search(file.as_posix()))}
    found += [Finding(name, "library", item) for item in sorted(libraries) if item.startswith(RUNTIMES)]
    return found
