"""Which scans a command is about: files by modality, or a DICOM study that they are chosen from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import click

from cmc_sdk.cli.terminal.console import stdout
from cmc_sdk.cli.terminal.tables import text_table
from cmc_sdk.errors import InputError
from cmc_sdk.imaging.read import read_volume
from cmc_sdk.progress import Progress

if TYPE_CHECKING:
    from cmc_sdk.bundle.manifest import ModelSpec
    from cmc_sdk.imaging.dicom.choosing.selection import Selection
    from cmc_sdk.imaging.volume import Volume

__all__ = ["ScanRequest", "print_selection", "scan_options"]

Decorated = TypeVar("Decorated", bound=Callable[..., object])
Irregular = Literal["refuse", "resample"]

irregular_option = click.option(
    "--irregular",
    type=click.Choice(["refuse", "resample"]),
    default="refuse",
    show_default=True,
    help="Of DICOM with missing slices or variable spacing: refuse it, or resample it to an even grid; what was not "
    "scanned gets a confidence of 0.",
)


def scan_options(function: Decorated) -> Decorated:
    """`--image`, `--study`, `--series` and `--irregular`."""
    for option in (
        irregular_option,
        click.option(
            "--series",
            "series",
            multiple=True,
            metavar="MODALITY=UID",
            help="Which DICOM series a modality is, where rules leave a choice: a Series Instance UID or a series "
            "number, and `:NAME` for one volume of it, as in 6:b=800.",
        ),
        click.option(
            "--study",
            type=click.Path(path_type=Path),
            help="A DICOM study (folder, DICOMDIR or zip): the bundle's rules choose a series for each modality.",
        ),
        click.option(
            "--image",
            "images",
            multiple=True,
            metavar="MODALITY=PATH",
            help="A scan and what it is, NIfTI or a DICOM folder or zip; once per modality. Any of the bundle's "
            "modalities may be left out.",
        ),
    ):
        function = option(function)
    return function


@dataclass(frozen=True)
class ScanRequest:
    """What the options ask for, checked as far as it can be without a bundle.

    Args:
        images: By modality.
        study: A DICOM study instead.
        series: By modality.
        irregular: Of DICOM.
    """

    images: dict[str, Path]
    study: Path | None
    series: dict[str, str]
    irregular: Irregular

    @classmethod
    def parse(
        cls, *, images: tuple[str, ...], study: Path | None, series: tuple[str, ...], irregular: Irregular
    ) -> ScanRequest:
        """From the options' words.

        Raises:
            InputError: No scan, both kinds, or a word without its modality.
        """
        if study is not None and images:
            raise InputError("--image and --study were both given", mend="give the scans, or the study that holds them")
        if study is None and not images:
            raise InputError(
                "no scan was given", mend="give --image MODALITY=PATH for each, or --study DIR for a DICOM study"
            )
        paths = {name: Path(path) for name, path in _pairs("--image", images, value="PATH").items()}
        return cls(paths, study, _pairs("--series", series, value="UID"), irregular)

    def check_modalities(self, known: tuple[str, ...]) -> None:
        """Refuse a modality that the bundle does not know.

        Raises:
            InputError: There is one.
        """
        for option, names in (("--image", self.images), ("--series", self.series)):
            for name in names:
                if name not in known:
                    raise InputError(
                        f"{option} {name}: the bundle has no modality {name!r}, only {', '.join(known)}",
                        mend="name one of them; `cmc info BUNDLE` shows what each stands for",
                    )
        for name in self.series:
            if self.study is None and name not in self.images:
                raise InputError(f"--series {name} belongs to no --image {name}", mend=f"give --image {name}=FOLDER")

    def open(self, *, spec: ModelSpec, progress: Progress | None = None) -> tuple[dict[str, Volume], Selection | None]:
        """Read the scans; with a study, also how they were chosen.

        Raises:
            DataError: One cannot be read, or the choice is not clear.
        """
        if self.study is not None:
            from cmc_sdk.runtime.scans.study import open_study

            study = open_study(self.study, spec=spec, series=self.series, irregular=self.irregular, progress=progress)
            return study.volumes, study.selection
        return {
            name: read_volume(path, series=self.series.get(name), irregular=self.irregular)
            for name, path in self.images.items()
        }, None


def print_selection(selection: Selection) -> None:
    """Which series was taken for what, and why every other was not."""
    out = stdout()
    rows = [[name, "taken", volume.label, ""] for name, volume in selection.chosen.items()]
    rows += [[item.modality, "not taken", item.volume.label, item.reason] for item in selection.rejected]
    rows += [["", "refused", item.name, item.what] for item in selection.refused]
    out.print(text_table(["", "", "series", "why"], rows=rows, text_columns=4), markup=False)
    for note in selection.notes:
        out.print(f"note     {note}", markup=False)
    out.print("", markup=False)


def _pairs(option: str, words: tuple[str, ...], *, value: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals and text):
            raise InputError(
                f"{option} {word!r} does not say which modality it is", mend=f"write {option} MODALITY={value}"
            )
        if name in pairs:
            raise InputError(f"{option} {name} is given twice", mend="give one per modality")
        pairs[name] = text
    return pairs
