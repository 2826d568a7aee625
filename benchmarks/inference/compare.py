"""Child process: the share of voxels to which both sides gave the same label."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np

from cmc_sdk.imaging.nifti import read_nifti


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def main(first: Path, second: Path) -> None:
    """Print the share as JSON; both must lie on one grid."""
    a, b = read_nifti(first), read_nifti(second)
    if not a.same_grid(b):
        raise click.ClickException(f"{first} and {second} lie on different grids")
    print(json.dumps({"equal_labels": float(np.mean(a.stored == b.stored)), "classes": len(np.unique(a.stored))}))


if __name__ == "__main__":
    main()
