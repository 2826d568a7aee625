"""Child process: MONAI's sliding window with a stand-in, logits back on the scan's grid, argmax: its peak."""

from __future__ import annotations

import json
import resource

import click
import numpy as np
import torch
from monai.inferers import sliding_window_inference

from benchmarks.core.labelling import ACROSS, MODEL_MM, SPACING_MM
from benchmarks.core.path import WINDOW, make_logits, make_scan


@click.command()
@click.option("--slices", default=200)
@click.option("--buffered", is_flag=True, help="With buffer_steps=1, its way to need less memory.")
@click.option("--threads", default=2)
def main(slices: int, buffered: bool, threads: int) -> None:
    """Print bytes as JSON."""
    torch.set_num_threads(threads)
    size = (ACROSS, ACROSS, slices)
    logits = torch.from_numpy(make_logits())[None]
    stored = make_scan(size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with torch.inference_mode():
        image = torch.from_numpy(stored.astype(np.float32))[None, None]
        model = [int(np.ceil(n * s / m - 1e-4)) for n, s, m in zip(size, SPACING_MM, MODEL_MM, strict=True)]
        image = torch.nn.functional.interpolate(image, size=model, mode="trilinear")
        words = {"buffer_steps": 1, "buffer_dim": -1} if buffered else {}
        found = sliding_window_inference(
            image,
            roi_size=WINDOW,
            sw_batch_size=1,
            predictor=lambda window: logits,
            overlap=0.5,
            mode="gaussian",
            sigma_scale=0.125,
            **words,
        )
        found = torch.nn.functional.interpolate(found, size=size, mode="trilinear", align_corners=False)
        labels = found.argmax(dim=1)[0].to(torch.uint8).numpy()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak": peak, "beside_scan_and_labels": peak - before - labels.nbytes}))


if __name__ == "__main__":
    main()
