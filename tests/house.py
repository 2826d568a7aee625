"""The house as its source says it: modules, who imports whom, rooms and layers; read as text, nothing is run."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeGuard

__all__ = ["ROOMS", "House", "Layers"]

ROOMS = ("training", "export", "runtime")
"""Folders at the top of the checkout that install under `cmc_sdk`."""

Layers = Sequence[tuple[str, ...]]
"""From the top down: a part may import parts of the layers below its own; parts of one layer know nothing of each
other.
"""


@dataclass(frozen=True)
class House:
    """The source of a checkout.

    Args:
        root: Of the checkout.
    """

    root: Path

    @cached_property
    def modules(self) -> dict[str, Path]:
        """Every module by the name under which it is imported."""
        found = {}
        for folder, package in (("cmc_sdk", "cmc_sdk"), *((room, f"cmc_sdk.{room}") for room in ROOMS)):
            top = self.root / folder
            for path in sorted([*top.rglob("*.py"), *top.rglob("*.pyi")]):
                inside = path.relative_to(top)
                if folder == "cmc_sdk" and inside.parts[0] in ROOMS:
                    continue  # a link to a room, which is read where it stands
                parts = [package, *inside.with_suffix("").parts]
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        return found

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """By module, the modules that it imports: inside functions and for type checkers too."""
        return {name: set(self._imported(name)) for name in self.modules}

    def outside(self, name: str) -> set[str]:
        """Top-level names of packages that are not ours, which the module imports."""
        own = {"cmc_sdk"}
        return {module.partition(".")[0] for module, _ in self._statements(name)} - own

    def named(self, name: str) -> Iterator[str]:
        """Every `cmc_sdk…` or bare room name that the module's import statements spell out."""
        for module, member in self._statements(name):
            yield module
            if member is not None:
                yield f"{module}.{member}"

    def broken(self) -> list[str]:
        """Imports of ours that find no module: a type checker takes them for packages that it does not know."""
        return [
            f"{name} imports {module}"
            for name in self.modules
            for module, _ in self._statements(name)
            if module.split(".")[0] == "cmc_sdk" and module not in self.modules
        ]

    def circles(self) -> list[tuple[str, ...]]:
        """Sets of modules that import each other, directly or by way of each other."""
        return [tuple(sorted(found)) for found in _strongly_connected(self.imports) if len(found) > 1]

    def folder(self, name: str) -> str:
        """Where the module lies, from the checkout's root: `runtime/gate`."""
        return self.modules[name].parent.relative_to(self.root).as_posix()

    def part(self, name: str, *, of: str) -> str | None:
        """Which part of the package `of` the module belongs to: a folder's or a module's name; None if to none.

        `of` itself, its `__init__`, is the part `__init__`.
        """
        if name == of:
            return "__init__"
        return name.removeprefix(f"{of}.").partition(".")[0] if name.startswith(f"{of}.") else None

    def arrows(self, of: str) -> dict[tuple[str, str], list[str]]:
        """Imports between the parts of a package, each with the modules that make it."""
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name, imported in self.imports.items():
            for other in sorted(imported):
                start, end = self.part(name, of=of), self.part(other, of=of)
                if start is not None and end is not None and start != end:
                    found[start, end].append(f"{name} -> {other}")
        return dict(found)

    def upward(self, of: str, *, layers: Layers) -> list[str]:
        """Imports that do not go down the layers, in words; and parts that no layer names."""
        level = {part: number for number, layer in enumerate(layers) for part in layer}
        parts = {part for name in self.modules if (part := self.part(name, of=of)) not in (None, "__init__")}
        wrong = [f"{of}.{part} stands in no layer" for part in sorted(set(parts) - set(level))]
        wrong += [f"{of}.{part} is in the layers and does not exist" for part in sorted(set(level) - set(parts))]
        for (start, end), made_by in sorted(self.arrows(of).items()):
            if level.get(start, -1) >= level.get(end, len(layers)):
                wrong += made_by
        return wrong

    def crowded(self, *, most: int) -> dict[str, int]:
        """Folders of more than `most` modules."""
        counts: dict[str, int] = defaultdict(int)
        for name in self.modules:
            counts[self.folder(name)] += 1
        return {folder: count for folder, count in counts.items() if count > most}

    def repeated_basenames(self) -> dict[str, list[str]]:
        """Files of one name in several folders, from the checkout's root; `__init__` and stubs aside."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in self.modules.values():
            if path.suffix == ".py" and not path.stem.startswith("__"):
                found[path.stem].append(path.relative_to(self.root).as_posix())
        return {stem: sorted(paths) for stem, paths in found.items() if len(paths) > 1}

    def compared_words(self, words: Mapping[str, str], *, outside: str) -> list[str]:
        """Comparisons with one of `words` (`==`, `in`, `case`) in modules outside the folder `outside`."""
        found = []
        for name, path in self.modules.items():
            if not self.folder(name).startswith(outside):
                for node in ast.walk(self._tree(name)):
                    for constant in _compared(node):
                        if constant.value in words:
                            place = f"{path.relative_to(self.root).as_posix()}:{constant.lineno}"
                            found.append(f"{place} compares with {constant.value!r}, {words[str(constant.value)]}")
        return found

    def uses(self, attribute: str, *, of: str) -> list[str]:
        """Modules that spell `of.attribute`, such as `os.environ`, with the line."""
        found = []
        for name, path in self.modules.items():
            for node in ast.walk(self._tree(name)):
                if isinstance(node, ast.Attribute) and ast.unparse(node) == f"{of}.{attribute}":
                    found.append(f"{path.relative_to(self.root).as_posix()}:{node.lineno}")
        return found

    def _tree(self, name: str) -> ast.Module:
        return ast.parse(self.modules[name].read_text(encoding="utf-8"))

    def _statements(self, name: str) -> Iterator[tuple[str, str | None]]:
        """(module, member) of every import statement; member is None for a plain `import`."""
        for node in ast.walk(self._tree(name)):
            if isinstance(node, ast.Import):
                yield from ((alias.name, None) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                if node.level:
                    raise ValueError(f"{self.modules[name]}:{node.lineno}: a relative import; write the whole name")
                yield from ((node.module or "", alias.name) for alias in node.names)
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                yield from ((word.value, None) for word in node.args[:1] if _is_text(word))

    def _imported(self, name: str) -> Iterator[str]:
        for module, member in self._statements(name):
            target = f"{module}.{member}" if f"{module}.{member}" in self.modules else module
            if target in self.modules and target != name:
                yield target


def _compared(node: ast.AST) -> Iterator[ast.Constant]:
    sides: list[ast.expr] = []
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
    elif isinstance(node, ast.MatchValue):
        sides = [node.value]
    for side in sides:
        items = side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]
        yield from (item for item in items if _is_text(item))


def _is_text(node: ast.expr) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _strongly_connected(edges: Mapping[str, set[str]]) -> list[set[str]]:
    """Tarjan's components, without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []
    for start in edges:
        if start in index:
            continue
        work = [(start, iter(sorted(edges[start])))]
        index[start] = low[start] = len(index)
        stack.append(start)
        while work:
            node, others = work[-1]
            for other in others:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    work.append((other, iter(sorted(edges[other]))))
                    break
                if other in stack:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = set(stack[stack.index(node) :])
                    del stack[stack.index(node) :]
                    found.append(component)
    return found
