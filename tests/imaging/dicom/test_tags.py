"""Attributes go by the standard's keywords: no source file says a tag in hexadecimal."""

from __future__ import annotations

import re
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from cmc_sdk.imaging.dicom import tags
from cmc_sdk.imaging.dicom.reading.attributes import Attributes
from cmc_sdk.imaging.dicom.tags import TAGS, Keyword

ROOT = Path(__file__).parents[3]
ROOMS = ("cmc_sdk/imaging", "cmc_sdk/bundle", "cmc_sdk/cli", "runtime", "training", "export")


@dataclass(frozen=True)
class Allowance:
    """Hexadecimal that may stand in a file, as it stands there, and why."""

    literals: frozenset[str]
    reason: str


ALLOWED = {
    "cmc_sdk/imaging/dicom/reading/header.py": Allowance(
        frozenset({"0xFFFFFFFF"}), "the length that stands for an undefined one"
    ),
}


def source_files() -> list[Path]:
    # Not through the links in cmc_sdk: a file has one name.
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return sorted([*files, *(ROOT / "cmc_sdk").glob("*.py")])


def written_tags(path: Path) -> set[str]:
    """Hexadecimal numbers of eight digits, and pairs of four digits, as they stand in the code."""
    with open(path, "rb") as handle:
        words = [token.string for token in tokenize.tokenize(handle.readline) if token.string.strip()]
    found = {word for word in words if re.fullmatch(r"0[xX][0-9a-fA-F]{8}", word.replace("_", ""))}
    half = re.compile(r"0[xX][0-9a-fA-F]{4}")
    for first, between, second in zip(words, words[1:], words[2:], strict=False):
        if between == "," and half.fullmatch(first) and half.fullmatch(second):
            found.add(f"{first}, {second}")
    return found


def test_no_file_says_a_tag_in_hexadecimal():
    files = source_files()
    assert len(files) > 200
    found = {path.relative_to(ROOT).as_posix(): written for path in files if (written := written_tags(path))}
    assert found == {name: set(allowed.literals) for name, allowed in ALLOWED.items()}


@pytest.mark.parametrize(
    ("line", "tag"),
    [
        ("x = 0x00280030", "0x00280030"),
        ("x = 0X0028_0030", "0X0028_0030"),
        ("x = (0x0028, 0x0030)", "0x0028, 0x0030"),
        ("x = (\n    0x0028,\n    0x0030,\n)", "0x0028, 0x0030"),
    ],
)
def test_a_tag_is_seen_however_it_is_written(line: str, tag: str, tmp_path: Path):
    path = tmp_path / "module.py"
    path.write_text(line + "\n")
    assert written_tags(path) == {tag}


@pytest.mark.parametrize("line", ["x = 0x0019", "x = 0x28003", "x = '0x00280030'  # 0x00280030", "x = f(0x10, 0x20)"])
def test_other_hexadecimal_is_none(line: str, tmp_path: Path):
    path = tmp_path / "module.py"
    path.write_text(line + "\n")
    assert written_tags(path) == set()


def test_each_keyword_has_the_tag_that_the_standard_gives_it():
    assert list(TAGS) == list(get_args(Keyword))
    assert {tag: keyword_for_tag(tag) for tag in TAGS.values()} == {tag: word for word, tag in TAGS.items()}
    assert TAGS["PixelSpacing"] == 0x00280030
    assert TAGS["PerFrameFunctionalGroupsSequence"] == 0x52009230


def test_each_keyword_is_used():
    places = [ROOT / "cmc_sdk/imaging/dicom" / room for room in ("reading", "deidentify", "writing")]
    text = "\n".join(path.read_text() for place in places for path in place.rglob("*.py"))
    assert [keyword for keyword in TAGS if f'"{keyword}"' not in text] == []


def test_a_word_that_the_standard_does_not_have_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tags, "get_args", lambda _: ("Rows", "RowsOfPixels"))
    with pytest.raises(LookupError, match="RowsOfPixels is no keyword of the DICOM standard"):
        tags._resolved()
    with pytest.raises(KeyError, match="RowsOfPixels"):
        Attributes(Dataset()).text("RowsOfPixels")


def test_an_attribute_goes_by_its_keyword_and_a_private_one_by_its_tag():
    dataset = Dataset()
    dataset.Modality = "MR"
    block = dataset.private_block(0x0019, "SOMEBODY", create=True)
    block.add_new(0x0C, "CS", "WORD")
    attributes = Attributes(dataset)
    assert attributes.text("Modality") == "MR"
    assert "Modality" in attributes
    assert "Rows" not in attributes
    assert attributes.block(0x0019, "SOMEBODY") == 0x0019 << 16 | 0x1000
    assert attributes.text(block.get_tag(0x0C)) == "WORD"
