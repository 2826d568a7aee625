"""The folder of a run: what lies where, who may write into it, and how it is read back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cmc_sdk.atomic import atomic_directory, atomic_file
from cmc_sdk.bundle.manifest import ModelSpec
from cmc_sdk.errors import ConfigError, DataError, InputError, ResourceError
from cmc_sdk.training.engine.config import TrainConfig
from cmc_sdk.training.engine.config_file import dump_config, load_config
from cmc_sdk.training.engine.run_documents import Summary
from cmc_sdk.training.methods import method_traits, methods_with, one_of
from cmc_sdk.training.model import CMCNetwork, load_network

__all__ = [
    "Run",
    "RunPaths",
    "check_branch",
    "check_run_folder",
    "datalist_sha256",
    "load_run",
    "make_run_folder",
    "remove_leftovers",
    "require_space",
    "write_json",
]

# Keys that change neither the weights nor what is measured: a run may be resumed with other values of them.
_FREE_KEYS = ("output", "name", "device", "log_every", "checkpoint_every", "validation.batch")


@dataclass(frozen=True)
class RunPaths:
    """The files of a run folder; each may be missing until training has come so far.

    Args:
        folder: The run folder.
    """

    folder: Path
    config: Path = field(init=False)
    spec: Path = field(init=False)
    last: Path = field(init=False)
    shared: Path = field(init=False)
    shared_best: Path = field(init=False)
    best: Path = field(init=False)
    best_score: Path = field(init=False)
    log: Path = field(init=False)
    tensorboard: Path = field(init=False)
    report: Path = field(init=False)
    summary: Path = field(init=False)

    def __post_init__(self) -> None:
        names = {
            "config": "config.yaml",
            "spec": "spec.json",
            "last": "checkpoints/last.safetensors",
            "shared": "checkpoints/before_stage_3.safetensors",
            "shared_best": "checkpoints/best_before_stage_3.safetensors",
            "best": "checkpoints/best.safetensors",
            "best_score": "best.json",
            "log": "log.jsonl",
            "tensorboard": "tensorboard",
            "report": "report.html",
            "summary": "summary.json",
        }
        for attribute, name in names.items():
            object.__setattr__(self, attribute, self.folder / name)


@dataclass(frozen=True)
class Run:
    """A run read back from its folder.

    Args:
        path: The run folder.
        config: Its configuration.
        spec: Modalities, classes, grid and pairing.
        network: With the weights of the best validation.
        datalist: Absolute path of the data list that it was trained on.
        summary: `summary.json`: scores by subset of modalities, ranges seen in validation, provenance; empty where the
            training has not ended.
    """

    path: Path
    config: TrainConfig
    spec: ModelSpec
    network: CMCNetwork
    datalist: Path
    summary: Summary


def load_run(run_dir: str | Path) -> Run:
    """Read a run folder with the weights of its best validation.

    Raises:
        InputError: The folder is no run folder, or training has not come to its first validation.
        CheckpointError: The weights do not fit.
    """
    paths = RunPaths(Path(run_dir))
    if not paths.config.is_file() or not paths.spec.is_file():
        raise InputError(
            f"{paths.folder} is no run folder (no config.yaml and spec.json)", mend="run `cmc train` first"
        )
    if not paths.best.is_file():
        raise InputError(
            f"{paths.folder} has no validated weights yet", mend="let `cmc train ... --resume` come to a validation"
        )
    config = load_config(paths.config)
    return Run(
        path=paths.folder,
        config=config,
        spec=ModelSpec.model_validate_json(paths.spec.read_text(encoding="utf-8")),
        network=load_network(paths.best),
        datalist=Path(config.data.datalist),
        summary=json.loads(paths.summary.read_text(encoding="utf-8")) if paths.summary.is_file() else {},
    )


def check_run_folder(config: TrainConfig, *, spec: ModelSpec, resume: bool) -> RunPaths:
    """Check, before anything is loaded, that the run folder is free, or with `resume` that it belongs to this run.

    Raises:
        InputError: The folder exists without `resume`, or is no run folder with it.
        ConfigError: The run was started with another configuration, or other modalities or classes.
    """
    paths = RunPaths(Path(config.run_folder))
    if not resume:
        if paths.folder.exists():
            raise InputError(
                f"the run folder {paths.folder} exists already",
                mend="continue it with --resume, or give another one with --output",
            )
        return paths
    if not paths.config.is_file() or not paths.spec.is_file():
        raise InputError(f"there is no run to resume at {paths.folder}", mend="start it without --resume")
    former = load_config(paths.config)
    differing = _differences(former.model_dump(mode="json"), config.model_dump(mode="json"))
    if differing:
        raise ConfigError(
            f"{paths.folder} was started with another configuration: {'; '.join(differing)}",
            mend="resume with the run's own config.yaml, or start a new run with --output",
        )
    if ModelSpec.model_validate_json(paths.spec.read_text(encoding="utf-8")) != spec:
        raise ConfigError(
            f"{config.data.datalist} has other modalities, classes or pairing than when {paths.folder} was started",
            mend="restore the data list, or start a new run with --output",
        )
    return paths


def check_branch(config: TrainConfig, *, source: RunPaths) -> None:
    """Refuse a branch that would not be the run that its configuration describes.

    Args:
        config: Of the new run.
        source: The run whose stages 1 and 2 it takes over.

    Raises:
        InputError: `source` is no run folder, or has not come to its stage 3.
        ConfigError: A method that cannot branch, or anything but the method and its losses differs.
    """
    if not source.config.is_file():
        raise InputError(f"there is no run at {source.folder} to branch from", mend="give a run folder of `cmc train`")
    former = load_config(source.config)
    for method in (former.method, config.method):
        if not method_traits(method).may_branch:
            able = one_of(methods_with(lambda traits: traits.may_branch), word="and")
            raise ConfigError(
                f"a run of method {method} cannot share its first stages: it keeps a second network",
                mend=f"branch between {able}, or train it from the beginning",
            )
    if not source.shared.is_file():
        raise InputError(
            f"{source.folder} has no checkpoint before stage 3", mend="let it come so far, with stages.semi above 0"
        )
    free = (*_FREE_KEYS, "method", "loss")
    differing = _differences(former.model_dump(mode="json"), config.model_dump(mode="json"), free=free)
    if differing:
        raise ConfigError(
            f"a branch of {source.folder} may differ in method and loss only: {'; '.join(differing)}",
            mend="set them as there, or train from the beginning",
        )


def make_run_folder(paths: RunPaths, *, config: TrainConfig, spec: ModelSpec) -> None:
    """Make the run folder with its configuration in one rename.

    Raises:
        InputError: It exists.
        ResourceError: It cannot be written.
    """
    try:
        paths.folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{paths.folder.parent} cannot be made: {error.strerror}", mend="choose another place with --output"
        ) from error
    with atomic_directory(paths.folder) as temporary:
        (temporary / "checkpoints").mkdir()
        (temporary / "config.yaml").write_text(dump_config(config), encoding="utf-8")
        (temporary / "spec.json").write_text(spec.model_dump_json(indent=2), encoding="utf-8")


def remove_leftovers(paths: RunPaths) -> None:
    """Remove what a process that was killed while writing left under a temporary name."""
    for folder in (paths.folder, paths.last.parent):
        for path in folder.glob(".????????.*"):
            path.unlink(missing_ok=True)


def require_space(folder: Path, *, needed_bytes: int) -> None:
    """Refuse before training where its checkpoints could not be written; `folder` need not exist yet.

    Raises:
        ResourceError: Less than `needed_bytes` are free, or nothing may be written there.
    """
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ResourceError(f"{place}: nothing can be written there", mend="choose another place with --output")
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise ResourceError(
            f"{folder}: checkpoints need {needed_bytes / 1e9:.2f} GB and {free / 1e9:.2f} GB are free",
            mend="free space or choose another place with --output",
        )


def datalist_sha256(path: str | Path) -> str:
    """Hash of the data list's bytes, for the provenance and to refuse resuming on a changed one."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: the data list cannot be read: {error.strerror}", mend="give its path") from error


def write_json(path: Path, document: object) -> None:
    """Write JSON atomically; NaN is not allowed in it."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2, allow_nan=False), encoding="utf-8")


def _differences(
    former: Mapping[str, object], now: Mapping[str, object], *, prefix: str = "", free: tuple[str, ...] = _FREE_KEYS
) -> list[str]:
    """Each key that is not `free` and whose value differs, as `key: then → now`."""
    found: list[str] = []
    for key in {**former, **now}:
        name = f"{prefix}{key}"
        if name in free:
            continue
        a, b = former.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, prefix=f"{name}.", free=free)
        elif a != b:
            found.append(f"{name} was {a!r} and is now {b!r}")
    return found
