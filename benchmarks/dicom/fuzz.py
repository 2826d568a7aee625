"""`python -m benchmarks.dicom.fuzz`: damaged files, read in child processes: no hang, no crash, bounded memory."""

from __future__ import annotations

import json
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from benchmarks.dicom.mutate import KINDS, base_files, mutate

SECONDS, FREE_BYTES, TIMES = 5.0, 64 << 20, 3


@dataclass
class Figures:
    """What came of all files; `faults` is empty where all is well."""

    outcomes: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    most_bytes: int = 0
    faults: list[str] = field(default_factory=list)


class Child:
    """A process that reads folders; started again when it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def read(self, folder: Path) -> tuple[dict[str, Any] | None, float, str]:
        """Its answer, the seconds, and why there is none."""
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-m", "benchmarks.dicom.fuzz_child"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
            )
            self._ask(folder)  # the first answer pays for the imports
            select.select([self._process.stdout], [], [], 60)
            self._process.stdout.readline()
        since = time.monotonic()
        self._ask(folder)
        ready, _, _ = select.select([self._process.stdout], [], [], SECONDS)
        seconds = time.monotonic() - since
        line = self._process.stdout.readline() if ready else ""
        if line:
            return json.loads(line), seconds, ""
        self._process.kill()
        code = self._process.wait()
        self._process = None
        return None, seconds, f"died with code {code}" if ready else f"hangs over {SECONDS:g} s"

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait(10)

    def _ask(self, folder: Path) -> None:
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()


def run(*, count: int, seed: int, keep: Path | None = None) -> Figures:
    """Damage one file of a series `count` times, and read the series."""
    figures = Figures()
    child = Child()
    with tempfile.TemporaryDirectory() as name:
        base = base_files(Path(name))
        case = Path(name) / "case"
        for index in range(count):
            generator = random.Random(f"{seed} {index}")
            coding, kind = generator.choice(sorted(base)), generator.choice(sorted(KINDS))
            shutil.rmtree(case, ignore_errors=True)
            case.mkdir()
            victim = generator.randrange(len(base[coding]))
            for place, path in enumerate(base[coding]):
                data = path.read_bytes()
                (case / path.name).write_bytes(
                    mutate(data, kind=kind, generator=generator) if place == victim else data
                )
            answer, seconds, trouble = child.read(case)
            figures.slowest_s = max(figures.slowest_s, seconds)
            fault = trouble or _judge(answer, figures)
            if fault:
                figures.faults.append(f"{index}: {coding}, {kind}: {fault}")
                if keep is not None:
                    shutil.copytree(case, keep / str(index), dirs_exist_ok=True)
        child.close()
    return figures


def _judge(answer: dict[str, Any], figures: Figures) -> str:
    figures.outcomes[answer["outcome"]] += 1
    figures.most_bytes = max(figures.most_bytes, answer["bytes"])
    for line in answer["lines"]:
        figures.refusals[line.split(":")[0]] += 1
    if answer["outcome"] not in {"read", "refused"}:
        return f"{answer['outcome']}: {answer['lines']!r:.200}"
    allowed = TIMES * answer["claimed"] + FREE_BYTES
    if answer["bytes"] > allowed:
        return f"{answer['bytes'] / 1e6:.0f} MB, where {allowed / 1e6:.0f} are allowed"
    return ""


@click.command()
@click.option("--count", default=5000, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="A folder for the files that show a fault.")
def main(count: int, seed: int, keep: Path | None) -> None:
    """Damage COUNT files and say what came of them; exit code 1 if one hangs, crashes, or breaks a bound."""
    figures = run(count=count, seed=seed, keep=keep)
    click.echo(f"{count:,} damaged files: " + ", ".join(f"{n:,} {name}" for name, n in figures.outcomes.most_common()))
    click.echo("refusals: " + ", ".join(f"{name} {n:,}" for name, n in figures.refusals.most_common()))
    click.echo(f"slowest {figures.slowest_s:.2f} s; most memory {figures.most_bytes / 1e6:.0f} MB")
    for fault in figures.faults[:50]:
        click.echo(f"FAULT {fault}")
    click.echo(f"{len(figures.faults)} faults")
    sys.exit(1 if figures.faults else 0)


if __name__ == "__main__":
    main()
