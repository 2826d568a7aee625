"""Child process: this runtime with the stand-in, all else as in `cmc infer`; never imports torch."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.inference.case import Case, SidePaths, StandIn, case_spec


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(folder: Path, output: Path) -> None:
    """Label the scan in FOLDER and write what `cmc infer` writes."""
    from cmc_sdk.imaging.nifti import read_nifti
    from cmc_sdk.runtime.output.folder import write_result
    from cmc_sdk.runtime.segmenter import Segmenter

    case = Case.read(folder)
    spec = case_spec(case)
    images = {"ct": read_nifti(SidePaths(folder, case=case).scan)}
    result = Segmenter(spec, StandIn()).infer(images)
    write_result(result, folder=output, images=images, spec=spec)


if __name__ == "__main__":
    main()
