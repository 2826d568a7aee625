"""Child process: `cmc` itself, with a stopwatch on its parts; writes them as JSON to FIGURES when it ends.

`python -m benchmarks.cold_start.child START FIGURES WORDS...`, START being the parent's `time.monotonic()`.
"""

from __future__ import annotations

import builtins
import importlib
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

BEGUN = time.monotonic()


class Stopwatch:
    """Seconds by part, each without what another part took inside it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.first_window: float | None = None
        self._stack = threading.local()

    def wrap(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """The function, timed as a part of its own."""

        def timed(*arguments: Any, **options: Any) -> Any:
            stack: list[list[Any]] = self._stack.__dict__.setdefault("parts", [])
            now = time.monotonic()
            if stack:
                self._add(stack[-1], now)
            stack.append([part, now])
            try:
                return function(*arguments, **options)
            finally:
                now = time.monotonic()
                self._add(stack.pop(), now)
                if stack:
                    stack[-1][1] = now
                if part == "first window" and self.first_window is None:
                    self.first_window = now

        return timed

    def _add(self, entry: list[Any], now: float) -> None:
        if self.first_window is None:
            self.seconds[entry[0]] = self.seconds.get(entry[0], 0.0) + now - entry[1]


def main() -> None:
    """Run `cmc` with the words after the first two."""
    start, figures, words = float(sys.argv[1]), sys.argv[2], sys.argv[3:]
    watch = Stopwatch()
    builtins.__import__ = watch.wrap(builtins.__import__, "import")
    importlib.import_module = watch.wrap(importlib.import_module, "import")

    import cmc_sdk.bundle.reader as reader
    import cmc_sdk.cli.options.scan_options as scans
    import cmc_sdk.runtime.backends.graphs as graphs
    import cmc_sdk.runtime.labelling.runner as runner
    import cmc_sdk.runtime.session as session
    from cmc_sdk.cli.main import main as cmc

    reader.Bundle.read = watch.wrap(reader.Bundle.read, "read and hash")
    session.open_bundle = watch.wrap(session.open_bundle, "manifest and signature")
    graphs.GraphBackend.prepare = watch.wrap(graphs.GraphBackend.prepare, "compile")
    scans.read_volume = watch.wrap(scans.read_volume, "scan")
    runner.WindowRunner.run = watch.wrap(runner.WindowRunner.run, "first window")
    try:
        cmc(words)
    except SystemExit as stopped:
        if stopped.code:
            raise
    if watch.first_window is None:
        raise SystemExit("no window was run")
    watch.seconds["interpreter"] = BEGUN - start
    total = watch.first_window - start
    watch.seconds["rest"] = total - sum(watch.seconds.values())
    torch = sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "monai", "onnx"})
    document = {"total": total, "parts": watch.seconds, "end": time.monotonic() - start, "training_packages": torch}
    with open(figures, "w") as target:
        json.dump(document, target)


if __name__ == "__main__":
    main()
