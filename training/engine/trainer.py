"""A training run from its configuration to its run folder: stages, validation, checkpoints, log, report."""

from __future__ import annotations

import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric

from cmc_sdk.atomic import atomic_file
from cmc_sdk.environment import process_count, processes_on_this_host
from cmc_sdk.errors import ConfigError
from cmc_sdk.progress import Progress
from cmc_sdk.runtime.segmenter import Segmenter
from cmc_sdk.training.data import WindowSource
from cmc_sdk.training.data.datalist import Split
from cmc_sdk.training.engine.checkpoint import load_checkpoint, restore_optimiser, save_checkpoint
from cmc_sdk.training.engine.config import TrainConfig
from cmc_sdk.training.engine.finish import finish_run
from cmc_sdk.training.engine.prefetch import Prefetcher
from cmc_sdk.training.engine.prepare import Prepared, prepare
from cmc_sdk.training.engine.report import write_report
from cmc_sdk.training.engine.run_documents import Best, TrainingState
from cmc_sdk.training.engine.run_folder import (
    RunPaths,
    check_branch,
    check_run_folder,
    datalist_sha256,
    make_run_folder,
    remove_leftovers,
    require_space,
    write_json,
)
from cmc_sdk.training.engine.run_log import RunLog
from cmc_sdk.training.engine.schedule import position
from cmc_sdk.training.engine.steps import Part, Stepper, StepResult, make_parts
from cmc_sdk.training.engine.torch_backend import TorchBackend
from cmc_sdk.training.engine.validation import mean_dice, measure
from cmc_sdk.training.methods import Method, build_method
from cmc_sdk.training.model import build_network, save_network

__all__ = ["launch", "train"]


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    branch: str | Path | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> RunPaths:
    """Train a network and leave a run folder.

    Under `torchrun` each process takes its share of every step; the result is that of a single process. On a CPU with
    the same number of threads a run that was stopped and resumed ends with the weights of one that was not.

    Args:
        config: What to do.
        resume: Continue the run that stands in the folder; without a checkpoint yet, from its beginning.
        branch: A run folder whose stages 1 and 2 this run takes over, instead of training them again: `cmc` and
            `supervised` are the same up to there, so the result is that of a run from the beginning. With `resume` it
            says only where a run without a checkpoint of its own begins.
        progress: Called with (what, done, total).
        note: Called with each sentence of warning; None: `warnings.warn`.

    Returns:
        The files of the run folder.

    Raises:
        ConfigError: The configuration contradicts itself, the machine, the data list or the run to be resumed.
        DataError: A scan or label is missing or wrong.
        InputError: The run folder exists without `resume`, or does not with it; `branch` has no such checkpoint.
        TrainingError: A loss or gradient is not finite.
        ResourceError: The disk is full.
    """
    fabric = launch(config)
    prepared = prepare(config, processes=fabric.world_size)
    paths = check_run_folder(prepared.config, spec=prepared.spec, resume=resume)
    source = None if branch is None else RunPaths(Path(branch).absolute())
    if source is not None:
        check_branch(prepared.config, source=source)
    for warning in prepared.warnings if fabric.is_global_zero else ():
        (note or _warn)(warning)
    fabric.barrier()
    run = _Training(prepared, paths=paths, resume=resume, source=source, fabric=fabric, progress=progress or _silent)
    run.go()
    return paths


class _Training:
    """The state of a run while it goes on."""

    def __init__(
        self,
        prepared: Prepared,
        *,
        paths: RunPaths,
        resume: bool,
        source: RunPaths | None,
        fabric: Fabric,
        progress: Progress,
    ) -> None:
        self.config, self.spec, self.paths, self.fabric = prepared.config, prepared.spec, paths, fabric
        self.progress = progress if fabric.is_global_zero else _silent
        config, datalist = self.config, prepared.datalist
        self.datalist_sha256 = datalist_sha256(config.data.datalist)
        self.cases = [case for case in datalist.split("validation") if set(case.labels) & set(case.images)]
        network = build_network(
            config.model, modalities=self.spec.names, num_classes=self.spec.classes.num_classes, seed=config.seed
        ).to(fabric.device)
        self.method: Method = build_method(
            config.method,
            network=network,
            loss=config.loss,
            pairing=self.spec.pairing,
            seed=config.seed,
            modality_dropout=prepared.modality_dropout,
        )
        self.stepper = Stepper(config, method=self.method, fabric=fabric)
        self.best: Best | None = None
        self.done, self.seconds, self.started = 0, 0.0, time.monotonic()
        if resume and paths.last.is_file():
            self._restore(paths.last)
        elif source is not None:
            self._restore(source.shared)
        if fabric.is_global_zero:
            require_space(paths.folder, needed_bytes=_checkpoint_bytes(self.method))
        self.labelled = self._source(prepared, "labelled")
        learns = config.stages.semi > 0 and self.method.traits.learns_from_unlabelled
        self.unlabelled = self._source(prepared, "unlabelled") if learns else None
        if fabric.is_global_zero:
            if resume:
                remove_leftovers(paths)
            else:
                make_run_folder(paths, config=config, spec=self.spec)
            if source is not None and self.best is not None and not paths.best.is_file():
                with atomic_file(paths.best) as temporary:
                    shutil.copyfile(source.shared_best, temporary)
                write_json(paths.best_score, self.best)
        fabric.barrier()

    def go(self) -> None:
        """All remaining steps, then the final measurements."""
        config, total = self.config, self.config.stages.total
        log = RunLog(self.paths, resume_at=self.done, enabled=self.fabric.is_global_zero)
        ahead = Prefetcher(self._parts, last=total - 1)
        try:
            while self.done < total:
                result = self.stepper.take(self.done, ahead.get(self.done))
                self.done += 1
                self._show(result)
                if self.done % config.log_every == 0 or self.done == total:
                    log.write("step", step=self.done, values=_log_line(result, seconds=self._elapsed()))
                validates = self._validates()
                if validates:
                    self._validate(log)
                # Before the run's own checkpoint: a run that is killed in between does this step again.
                if config.stages.semi > 0 and self.done == config.stages.alone + config.stages.fused:
                    self._save_shared()
                if validates or self.done % config.checkpoint_every == 0:
                    self._save(self.paths.last)
            gaps = finish_run(
                self.paths,
                config=config,
                spec=self.spec,
                cases=self.cases,
                fabric=self.fabric,
                best=self.best or {},
                provenance={"datalist_sha256": self.datalist_sha256},
                seconds=self._elapsed(),
                progress=self.progress,
            )
            log.write("final", step=self.done, values={"fused_minus_alone": gaps})
        finally:
            ahead.close()
            log.close()

    def _source(self, prepared: Prepared, split: Split) -> WindowSource:
        def shown(stage: str, done: int, total: int) -> None:
            self.progress(f"{stage} {split}", done, total)

        config = self.config
        return WindowSource(
            prepared.datalist, split=split, config=config.data, spec=self.spec, seed=config.seed, progress=shown
        )

    def _parts(self, step: int) -> list[Part]:
        return make_parts(
            step,
            config=self.config,
            labelled=self.labelled,
            unlabelled=self.unlabelled,
            rank=self.fabric.global_rank,
            processes=self.fabric.world_size,
        )

    def _validates(self) -> bool:
        if self.done == self.config.stages.total:
            return True
        fused = position(self.done - 1, stages=self.config.stages).stage > 1
        return fused and self.done % self.config.validation.every == 0

    def _validate(self, log: RunLog) -> None:
        """Measure; keep the weights where their mean over modalities is the best so far."""
        cases = self.cases if self.done == self.config.stages.total else self.cases[: self.config.validation.max_cases]
        segmenter = Segmenter(self.spec, TorchBackend(self.method.network.eval()))
        scores = measure(
            segmenter,
            cases,
            subset=None,
            batch=self.config.validation.batch,
            fabric=self.fabric,
            progress=self.progress,
            stage=f"validation at step {self.done}",
        )
        mean, table = mean_dice(scores)
        names, organs = self.spec.names, self.spec.classes.names
        by_modality = dict(zip(names, scores_by_modality(table), strict=True))
        values = {
            "mean_dice": mean,
            "mean_by_modality": by_modality,
            "dice": {name: dict(zip(organs, table[i].tolist(), strict=True)) for i, name in enumerate(names)},
            "foreground_ratio": dict(zip(names, scores.foreground_ratio.tolist(), strict=True)),
        }
        log.write("validation", step=self.done, values=values)
        known = mean if math.isfinite(mean) else -1.0
        if self.best is None or known > self.best["score"]:
            self.best = {"step": self.done, "score": known, "mean_dice": mean if math.isfinite(mean) else None}
            if self.fabric.is_global_zero:
                save_network(self.method.network, self.paths.best)
                write_json(self.paths.best_score, self.best)
        if self.fabric.is_global_zero:
            write_report(self.paths, config=self.config, summary={})

    def _save_shared(self) -> None:
        """Keep what a branch begins with: the state before stage 3, and the best weights so far."""
        if self.fabric.is_global_zero and self.best is not None:
            with atomic_file(self.paths.shared_best) as temporary:
                shutil.copyfile(self.paths.best, temporary)
        self._save(self.paths.shared)

    def _save(self, path: Path) -> None:
        if self.fabric.is_global_zero:
            state: TrainingState = {
                "step": self.done,
                "best": self.best,
                "seconds": self._elapsed(),
                "scaler": self.stepper.scaler_state(),
                "datalist_sha256": self.datalist_sha256,
            }
            save_checkpoint(
                path,
                network=self.method.network,
                extra=self.method.extra_state(),
                optimiser=self.stepper.optimiser,
                state=state,
            )
        self.fabric.barrier()

    def _restore(self, path: Path) -> None:
        checkpoint = load_checkpoint(path)
        if checkpoint.state["datalist_sha256"] != self.datalist_sha256:
            raise ConfigError(
                f"{self.config.data.datalist} is not the data list that {path.parents[1]} was started with",
                mend="restore it, or start a new run with --output",
            )
        self.method.network.load_state_dict(checkpoint.weights)
        self.method.load_extra_state(checkpoint.extra)
        restore_optimiser(self.stepper.optimiser, checkpoint.optimiser)
        self.stepper.restore_scaler(checkpoint.state["scaler"])
        self.done, self.best = checkpoint.state["step"], checkpoint.state["best"]
        self.seconds = checkpoint.state["seconds"]

    def _show(self, result: StepResult) -> None:
        stages = self.config.stages
        lengths = (stages.alone, stages.fused, stages.semi)
        where = result.position
        first = sum(lengths[: where.stage - 1])
        self.progress(f"stage {where.stage}", self.done - first, lengths[where.stage - 1])

    def _elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.started


def scores_by_modality(table: npt.NDArray[np.float64]) -> list[float]:
    """Mean over organs of each modality, NaN left out; NaN where all are."""
    means = []
    for row in table.tolist():
        known = [value for value in row if math.isfinite(value)]
        means.append(sum(known) / len(known) if known else math.nan)
    return means


def launch(config: TrainConfig) -> Fabric:
    """Fabric on the device; under `torchrun` one of its processes (gloo on CPU, nccl on GPUs)."""
    processes = process_count()
    local = processes_on_this_host()
    device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    if device == "cuda" and not torch.cuda.is_available():
        device = "cpu"  # `prepare` refuses this; until then there is nothing to launch on
    fabric = Fabric(
        accelerator=device,
        devices=local,
        num_nodes=processes // local,
        strategy="ddp" if processes > 1 else "auto",
        precision=config.precision,
    )
    fabric.launch()
    return fabric


def _checkpoint_bytes(method: Method) -> int:
    """Room for three checkpoints (old, new, shared: weights, two moments, the method's own) and three best weights."""
    weights = _bytes(method.network.state_dict().values())
    trained = _bytes(method.parameters())
    extra = _bytes(method.extra_state().values())
    return 3 * (weights + 2 * trained + extra) + 3 * weights


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(item.numel() * item.element_size() for item in tensors)


def _log_line(result: StepResult, *, seconds: float) -> dict[str, object]:
    """Terms of the loss, their weights, MIA's statistics and quantities to watch, each under its own head."""
    groups: dict[str, dict[str, float]] = {"terms": {}, "weights": {}, "mia": {}, "watch": {}}
    for name, value in result.logged.items():
        head, _, rest = name.partition("/")
        if head == "mia":
            groups["mia"][rest] = value
        elif rest:
            groups["watch"][name] = value
        else:
            groups["weights" if name.startswith("w_") else "terms"][name] = value
    head_line = {
        "stage": result.position.stage,
        "lr": result.lr,
        "loss": result.loss,
        "gradient_norm": result.gradient_norm,
        "seconds": round(seconds, 3),
    }
    return {**head_line, **{name: group for name, group in groups.items() if group}}


def _silent(what: str, done: int, total: int) -> None:
    """No progress to show."""


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)
