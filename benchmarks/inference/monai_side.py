"""Child process: the usual way. MONAI's sliding window, torch eager, logits resampled back, argmax.

Spacing by MONAI's `Spacing`, window blending in its Gaussian mode, logits back on the scan's grid by torch's trilinear
interpolation; FP32 throughout (MONAI would resample in double precision), arrays dropped as soon as they can be.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.transforms import Spacing

from benchmarks.inference.case import MODEL_SPACING_MM, OVERLAP, Case, SidePaths, stand_in_centres


class StandIn(torch.nn.Module):
    """As `case.StandIn`, in torch."""

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """(B, 1, X, Y, Z) → (B, K, X, Y, Z)."""
        centres = stand_in_centres()
        logits = torch.empty(len(window), len(centres), *window.shape[2:])
        for index, centre in enumerate(centres):
            torch.sub(window[:, 0], centre, out=logits[:, index])
            logits[:, index].square_().neg_()
        return logits


class Network(torch.nn.Module):
    """The trained-network class of this project as a plain predictor."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        from cmc_sdk.training.model import load_network

        self.network = load_network(path).eval()

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """(B, 1, X, Y, Z) → (B, K, X, Y, Z)."""
        return self.network({"ct": window}).logits["ct"]


def segment(case: Case, paths: SidePaths, predictor: torch.nn.Module, *, output: Path) -> dict[str, float]:
    """Write labels on the scan's grid; seconds by stage."""
    import nibabel
    from monai.data import MetaTensor

    stages, mark = {}, time.perf_counter()

    def stage(name: str) -> None:
        nonlocal mark
        now = time.perf_counter()
        stages[name], mark = now - mark, now

    loaded = nibabel.load(paths.scan)
    image = MetaTensor(torch.from_numpy(np.asarray(loaded.dataobj, dtype=np.float32))[None], affine=loaded.affine)
    size = tuple(image.shape[1:])
    stage("read")
    foreground = image[image > 0]
    image = (image - foreground.mean()) / foreground.std()
    del foreground
    image = Spacing(pixdim=(MODEL_SPACING_MM,) * 3, mode="bilinear", dtype=np.float32)(image)
    stage("sample")
    logits = sliding_window_inference(
        image.as_tensor()[None],
        roi_size=(case.window_vox,) * 3,
        sw_batch_size=1,
        predictor=predictor,
        overlap=OVERLAP,
        mode="gaussian",
        sigma_scale=0.125,
    )
    stage("window")
    del image
    labels = torch.nn.functional.interpolate(logits, size=size, mode="trilinear", align_corners=False)
    del logits
    result = labels.argmax(dim=1)[0].to(torch.uint8).numpy()
    stage("resample_back")
    nibabel.save(nibabel.Nifti1Image(result, loaded.affine), output)
    stage("write")
    return stages


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--stand-in", is_flag=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(folder: Path, stand_in: bool, output: Path) -> None:
    """Label the scan in FOLDER and print seconds by stage as JSON."""
    case = Case.read(folder)
    paths = SidePaths(folder, case=case)
    torch.set_num_threads(case.threads)
    mark = time.perf_counter()
    with torch.inference_mode():
        predictor = StandIn() if stand_in else Network(paths.network)
        loading = time.perf_counter() - mark
        stages = segment(case, paths, predictor, output=output)
    network = f"torch {torch.__version__} eager f32"
    print(json.dumps({"stages": {"load": loading, **stages}, "network": network}))


if __name__ == "__main__":
    main()
