"""How much faster is the short form of padded-window attention: `make bench-encoder`.

Preset base, 128³, batch 1, float32, both sides on the same weights in one process, turn by turn; medians. The other
side is the plain padded encoder of tests/reference, which computes what the public code computes.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import Tensor

from cmc_sdk.atomic import atomic_file
from cmc_sdk.training.model import build_encoder
from tests.reference import padded_encoder

REQUIRED_RATIO = 4.0


def measure(sides: dict[str, Callable[[], Tensor]], *, rounds: int) -> tuple[dict[str, list[float]], float]:
    """Seconds of every round per side after one warm-up each, and the largest relative difference of their outputs."""
    outputs = {name: run() for name, run in sides.items()}
    short, padded = outputs["short"], outputs["padded"]
    difference = float((short - padded).abs().max() / padded.abs().max())
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds, difference


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Timed passes of each side.")
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=None, help="Also write the figures here.")
def main(rounds: int, threads: int, json_path: Path | None) -> None:
    """Print padded / short time of the base encoder at 128³; exit 1 below the required ratio."""
    torch.set_num_threads(threads)
    encoder = build_encoder("base").eval()
    preset = encoder.preset
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, parameter in encoder.named_parameters():
            if "rel_pos" in key or key.endswith("bias"):
                parameter.normal_(0, 0.3, generator=generator)
        image = torch.randn(1, 1, 128, 128, 128, generator=generator)
        state = encoder.state_dict()

        def padded() -> Tensor:
            return padded_encoder.encode(
                state,
                image,
                heads=preset.heads,
                window=preset.attention_window,
                global_blocks=preset.global_blocks,
            )

        seconds, difference = measure({"padded": padded, "short": lambda: encoder(image)}, rounds=rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = medians["padded"] / medians["short"]
    result = {
        "benchmark": "encoder",
        "preset": "base",
        "window_vox": [128, 128, 128],
        "dtype": "float32",
        "threads": threads,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "seconds": seconds,
        "median_seconds": medians,
        "ratio_padded_over_short": ratio,
        "required_ratio": REQUIRED_RATIO,
        "relative_difference": difference,
    }
    for name, median in medians.items():
        click.echo(f"{name:<8} median {median:7.3f} s over {rounds} rounds")
    click.echo(f"relative difference {difference:.1e}")
    click.echo(f"padded / short {ratio:.2f} (required: {REQUIRED_RATIO:.0f})")
    click.echo(json.dumps(result))
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n")
    if ratio < REQUIRED_RATIO:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
