"""The data list of recipe brats13_flair_t1c: `python benchmarks/real/brats13_datalist.py OUT.yaml [--data FOLDER]`.

Two patients with tumour labels train, two without join them, one validates, one tests. The images stay where they are.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from cmc_sdk.bundle.manifest import ModalitySpec
from cmc_sdk.errors import InputError
from cmc_sdk.imaging.classes import ClassTable, SegmentClass
from cmc_sdk.training.data.datalist import Case, Datalist, Split, write_datalist

# Two patients are too few to tell necrosis, oedema, non-enhancing and enhancing tumour apart: their union is learned.
TUMOUR = SegmentClass(index=1, name="whole tumour", color=(230, 75, 53), values=(1, 2, 3, 4))
LABELLED: tuple[tuple[str, Split], ...] = (
    ("0003", "labelled"),
    ("0004", "labelled"),
    ("0005", "validation"),
    ("0006", "test"),
)
POOL = (("tcga_fg6692_bratsspace", "OtherEXampleFromTCIA"), ("tcga_du7294_bratsspace", "TCGA-DU-7294"))


def brats13_datalist(data: Path) -> Datalist:
    """FLAIR and T1c of six patients under `data`; both modalities share one label, since they share one grid."""
    cases = []
    for number, split in LABELLED:
        folder = data / "brats13_flair_t1c" / f"brats_2013_pat{number}_1"
        label = folder / "OTMultiClass.nii.gz"
        cases.append(
            Case(
                case=f"pat{number}",
                patient=f"pat{number}",
                centre="brats2013",
                split=split,
                images={
                    "flair": folder / "Flair_subtrMeanDivStd.nii.gz",
                    "t1c": folder / "T1c_subtrMeanDivStd.nii.gz",
                },
                labels={"flair": label, "t1c": label},
            )
        )
    for folder_name, prefix in POOL:
        folder = data / folder_name
        cases.append(
            Case(
                case=folder_name.removesuffix("_bratsspace"),
                patient=folder_name.removesuffix("_bratsspace"),
                centre="tcga",
                split="unlabelled",
                images={"flair": folder / f"{prefix}_fla_bet.nii.gz", "t1c": folder / f"{prefix}_t1c_bet.nii.gz"},
            )
        )
    return Datalist(
        name="brats13_flair_t1c",
        modalities=(ModalitySpec(name="flair", dicom_modality="MR"), ModalitySpec(name="t1c", dicom_modality="MR")),
        reference_modality="flair",
        classes=ClassTable(classes=(TUMOUR,)),
        pairing="registered",
        cases=tuple(cases),
    )


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="The test data.  [default: $CMC_TEST_DATA]")
def main(out: Path, data: Path | None) -> None:
    """Write the data list to OUT."""
    folder = data or Path(os.environ.get("CMC_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (folder / "brats13_flair_t1c").is_dir():
        raise InputError(f"{folder} holds no brats13_flair_t1c", mend="give --data or set CMC_TEST_DATA")
    click.echo(write_datalist(brats13_datalist(folder.resolve()), out))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
