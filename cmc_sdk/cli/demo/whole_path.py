"""`cmc demo`: the whole path on a phantom, in minutes, on a CPU."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cmc_sdk.cli.demo.compared import CONTROL, METHOD
from cmc_sdk.cli.terminal.console import emit_json, json_option, progress_bar, stdout
from cmc_sdk.errors import InterruptError, TrainingError
from cmc_sdk.progress import Progress

if TYPE_CHECKING:
    from cmc_sdk.training.evaluation import Row

EPILOG = """\b
Examples:
  cmc demo
  cmc demo --output /tmp/demo --fast
"""
STEPS = ("phantom", "train", "train supervised-only", "export", "sign", "verify", "infer", "evaluate", "report")
PATIENTS = {"labelled": 8, "unlabelled": 16, "validation": 4, "test": 8}
FEW_PATIENTS = {"labelled": 2, "unlabelled": 2, "validation": 1, "test": 2}


@click.command(epilog=EPILOG)
@click.option("--output", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="New folder.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the phantom and training.")
@click.option("--fast", is_flag=True, help="A minute instead of ten: shows that all parts run, not what they can do.")
@json_option
def command(output: Path, seed: int, fast: bool, as_json: bool) -> None:
    """Make a phantom, train on it, export, sign, verify, label a test patient and measure, on this CPU.

    Trains CMC and, for the same number of steps on the labelled cases alone, a supervised network to compare with.
    Ends with OUTPUT/report.html.
    """
    from cmc_sdk.cli.demo.demo_page import headline, headline_text
    from cmc_sdk.runtime.output.folder import check_result_folder

    check_result_folder(output)
    try:
        demo = _Demo(folder=output, seed=seed, fast=fast, quiet=as_json)
        rows = demo.go()
    except KeyboardInterrupt as error:
        raise InterruptError(
            f"stopped by Ctrl-C; what was finished stands in {output}", mend=f"remove {output} and start again"
        ) from error
    table = headline(rows)
    if as_json:
        emit_json({"dice": table, "seconds": demo.seconds, "report": str(output / "report.html")})
        return
    out = stdout()
    out.print(f"\nMean Dice on the {demo.patients['test']} test patients", markup=False)
    out.print(headline_text(table), markup=False)
    out.print(f"\nreport: {output / 'report.html'}", markup=False)


@dataclass
class _Demo:
    """The steps, one after the other; each leaves its files in `folder`."""

    folder: Path
    seed: int
    fast: bool
    quiet: bool
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def patients(self) -> dict[str, int]:
        """How many of each split."""
        return FEW_PATIENTS if self.fast else PATIENTS

    def go(self) -> list[Row]:
        """Everything; returns the rows of the evaluation."""
        self.folder.mkdir(exist_ok=True)
        datalist = self._phantom()
        self._train(METHOD, datalist, step="train")
        # Up to stage 3 both methods are one: the second run begins where the first one's consistency terms set in.
        self._train(CONTROL, datalist, step="train supervised-only", branch=self._run_folder(METHOD))
        self._export()
        self._sign()
        self._verify()
        self._infer(datalist)
        rows = self._evaluate(datalist)
        self._report(rows, datalist)
        return rows

    @property
    def bundle(self) -> Path:
        """The exported bundle."""
        return self.folder / "phantom.cmc"

    @property
    def trust(self) -> Path:
        """The trust store that holds the demo's own key."""
        return self.folder / "trust.json"

    def _phantom(self) -> Path:
        from cmc_sdk.training.data.phantom import make_phantom

        with self._step("phantom") as progress:
            counts = self.patients
            return make_phantom(
                self.folder / "phantom",
                seed=self.seed,
                labelled=counts["labelled"],
                unlabelled=counts["unlabelled"],
                validation=counts["validation"],
                test=counts["test"],
                progress=progress,
            )

    def _run_folder(self, method: str) -> Path:
        return self.folder / "runs" / method

    def _train(self, method: str, datalist: Path, *, step: str, branch: Path | None = None) -> None:
        from cmc_sdk.training.engine import load_config, train

        recipe = "smoke" if self.fast else "tiny"
        changes = {"name": method, "method": method, "seed": self.seed, "data.datalist": datalist.absolute()}
        changes["output"] = self._run_folder(method).absolute()
        config = load_config(recipe, overrides=[f"{key}={_yaml(value)}" for key, value in changes.items()])
        with self._step(step) as progress:
            train(config, branch=branch, progress=progress, note=self._note)

    def _export(self) -> None:
        from cmc_sdk.export import export_bundle

        with self._step("export") as progress:
            export_bundle(
                self._run_folder(METHOD),
                output=self.bundle,
                licence="Apache-2.0",
                intended_use="demonstration on a phantom; not for patients",
                progress=progress,
            )

    def _sign(self) -> None:
        """A key whose passphrase lies beside it would be worth nothing elsewhere; here it shows the practice."""
        from cmc_sdk.bundle.keys import make_keys
        from cmc_sdk.bundle.signing import sign_bundle
        from cmc_sdk.bundle.trust import TrustStore
        from cmc_sdk.bundle.trust_edit import add_key, write_trust_store

        with self._step("sign") as progress:
            keys = self.folder / "keys"
            keys.mkdir(mode=0o700)
            passphrase = secrets.token_urlsafe(24)
            with open(os.open(keys / "passphrase.txt", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
                handle.write(f"{passphrase}\n")
            key = make_keys(keys / "demo.key", passphrase=passphrase)
            sign_bundle(self.bundle, key=key, progress=progress)
            write_trust_store(add_key(TrustStore(), key.public, owner="this demo"), self.trust)

    def _verify(self) -> None:
        from cmc_sdk.runtime.gate.verify import verify_bundle

        with self._step("verify") as progress:
            report = verify_bundle(self.bundle, trust=self.trust, progress=progress)
        if not report:
            raise TrainingError(f"{self.bundle} does not verify: {'; '.join(report.faults)}", mend="run `cmc doctor`")

    def _infer(self, datalist: Path) -> None:
        from cmc_sdk.imaging.nifti import read_nifti
        from cmc_sdk.runtime.output.folder import write_result
        from cmc_sdk.runtime.session import Session
        from cmc_sdk.training.data import load_datalist

        case = load_datalist(datalist).split("test")[0]
        with self._step("infer") as progress:
            session = Session(self.bundle, trust=self.trust)
            images = {name: read_nifti(path) for name, path in case.images.items()}
            result = session.infer(images, progress=progress)
            write_result(result, folder=self.folder / "result", images=images, spec=session.spec, report=True)

    def _evaluate(self, datalist: Path) -> list[Row]:
        from cmc_sdk.cli.options.run_or_bundle import open_segmenter
        from cmc_sdk.training.data import load_datalist
        from cmc_sdk.training.evaluation import evaluate_baseline, evaluate_cases, write_csv

        cases = load_datalist(datalist)
        rows: list[Row] = []
        with self._step("evaluate") as progress:
            for path, trust in ((self.bundle, self.trust), (self._run_folder(CONTROL), None)):
                segmenter, method, seed = open_segmenter(path, trust=trust)
                rows += evaluate_cases(segmenter, cases, method=method, seed=seed, progress=progress)
            rows += evaluate_baseline(cases, progress=progress)
            write_csv(rows, self.folder / "evaluation.csv")
        return rows

    def _report(self, rows: list[Row], datalist: Path) -> None:
        from cmc_sdk.cli.demo.demo_page import write_demo_page

        with self._step("report"):
            write_demo_page(self.folder, rows=rows, datalist=datalist, seconds=self.seconds, patients=self.patients)

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[Progress]:
        """Time a step; say what it is before, and how long it took after."""
        started = time.monotonic()
        number = f"[{STEPS.index(name) + 1}/{len(STEPS)}]"
        if not self.quiet:
            stdout().print(f"{number} {name} ...", markup=False)
        with progress_bar(quiet=self.quiet) as progress:
            yield progress
        self.seconds[name] = time.monotonic() - started
        if not self.quiet:
            stdout().print(f"{number} {name}: {self.seconds[name]:.0f} s", markup=False)

    def _note(self, text: str) -> None:
        if not self.quiet:
            stdout().print(f"      note: {text}", markup=False)


def _yaml(value: object) -> str:
    return json.dumps(str(value)) if isinstance(value, Path | str) else str(value)
