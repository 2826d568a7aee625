"""The jobs of the benchmark, and running them on several processes of one thread each."""

from __future__ import annotations

import functools
import multiprocessing
import sys
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.method import arms, task
from benchmarks.method.arms import ARMS, Arm, Scores
from cmc_sdk.training.methods import method_traits

PARTNER_INIT = 1000
Weights = dict[str, npt.NDArray[np.float32]]


@functools.cache
def _patients(folder: Path, *, misaligned: bool) -> tuple[task.Patient, ...]:
    return task.load_patients(folder, misaligned=misaligned)


def _start_worker() -> None:
    torch.set_num_threads(1)


def base_job(folder: Path, *, seed: int, init_seed: int) -> tuple[Weights, int]:
    """One shared checkpoint, as arrays, and how many were discarded."""
    data = task.split(_patients(folder, misaligned=False), seed=seed)
    state, discarded = arms.train_base(data, seed=seed, init_seed=init_seed, steps=arms.BASE_STEPS)
    return {name: value.numpy() for name, value in state.items()}, discarded


def arm_job(folder: Path, arm: Arm, *, seed: int, base: Weights, partner: Weights | None) -> Scores:
    """One arm of one seed, measured on the test patients."""
    data = task.split(_patients(folder, misaligned=arm.data == "misaligned"), seed=seed)
    network = arms.train_arm(
        arm,
        data,
        seed=seed,
        base={name: torch.from_numpy(value.copy()) for name, value in base.items()},
        partner=None if partner is None else {name: torch.from_numpy(value.copy()) for name, value in partner.items()},
        first_step=arms.BASE_STEPS,
        steps=arms.ARM_STEPS,
    )
    return arms.score(network, data.test)


def run(folder: Path, *, seeds: list[int], processes: int) -> tuple[dict[Arm, list[Scores]], int]:
    """All arms of all seeds, each job on one thread; scores by arm in the order of `seeds`, and discarded bases."""
    context = multiprocessing.get_context("spawn")
    found: dict[tuple[Arm, int], Scores] = {}
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker) as pool:
        starts = {
            (seed, offset): pool.submit(base_job, folder, seed=seed, init_seed=seed + offset)
            for seed in seeds
            for offset in (0, PARTNER_INIT)
        }
        bases = {key: future.result() for key, future in starts.items()}
        jobs: dict[Future[Scores], tuple[Arm, int]] = {}
        for seed in seeds:
            for arm in ARMS:
                partner = bases[seed, PARTNER_INIT][0] if method_traits(arm.method).trains_partner else None
                job = pool.submit(arm_job, folder, arm, seed=seed, base=bases[seed, 0][0], partner=partner)
                jobs[job] = (arm, seed)
        for done in as_completed(jobs):
            arm, seed = jobs[done]
            found[arm, seed] = done.result()
            means = arms.mean_scores(found[arm, seed])
            line = f"[{len(found)}/{len(jobs)}] seed {seed}, {arm.data}, {arm.name}: a {means['both/a']:.3f}"
            print(f"{line}, b {means['both/b']:.3f}", file=sys.stderr, flush=True)
    discarded = sum(count for _, count in bases.values())
    return {arm: [found[arm, seed] for seed in seeds] for arm in ARMS}, discarded
