"""Every kind of bad input: one line with the name, the rule and the way out; nothing half-written."""

from __future__ import annotations

import errno
import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cmc_sdk import write_volume
from cmc_sdk.imaging import nifti
from tests.cli.command import AFFINE, Outcome, make_scan

Cmc = Callable[..., Outcome]
Damage = Callable[[Path], None]


def save(array: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> None:
    nib.save(nib.Nifti1Image(array, affine), path)


def missing(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def truncated_inside(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:5000]))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("not a scan\n" * 100)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def four_dimensional(path: Path) -> None:
    save(np.zeros((6, 6, 6, 3), np.int16), path)


def two_dimensional(path: Path) -> None:
    save(np.zeros((6, 6), np.int16), path)


def color(path: Path) -> None:
    save(np.zeros((6, 6, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")]), path)


def nan_voxels(path: Path) -> None:
    scan = make_scan(seed=0).stored.astype(np.float32)
    scan[3, 4, 5] = np.nan
    save(scan, path)


def infinite_voxels(path: Path) -> None:
    scan = make_scan(seed=0).stored.astype(np.float32)
    scan[3, 4, 5] = -np.inf
    save(scan, path)


def _with_sform(path: Path, rows: np.ndarray) -> None:
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[252:256] = np.array([0, 1], "<i2").tobytes()  # qform_code, sform_code
    data[280:328] = rows.astype("<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(data)))


def singular_affine(path: Path) -> None:
    rows = AFFINE[:3].copy()
    rows[:, 1] = rows[:, 0]
    _with_sform(path, rows)


def nan_affine(path: Path) -> None:
    rows = AFFINE[:3].copy()
    rows[0, 0] = np.nan
    _with_sform(path, rows)


SCANS: list[tuple[Damage, str]] = [
    (missing, "does not exist|no such file"),
    (truncated, "truncated|ends|damaged"),
    (truncated_inside, "truncated"),
    (empty, "NIfTI|empty|truncated"),
    (text, "NIfTI"),
    (folder, "folder|directory"),
    (four_dimensional, r"4-D|3-D|volumes"),
    (two_dimensional, r"2-D|3-D"),
    (color, "RGB|colou?r"),
    (nan_voxels, "NaN|infinite"),
    (infinite_voxels, "NaN|infinite"),
    (singular_affine, "singular"),
    (nan_affine, "finite|NaN"),
]


def check(outcome: Outcome, *patterns: str, code: int = 2) -> None:
    """One line that names what is wrong (every pattern) and, after a semicolon, the way out."""
    line = outcome.error
    for pattern in patterns:
        assert re.search(pattern, line, re.IGNORECASE), line
    _, semicolon, mend = line.partition("; ")
    assert semicolon
    assert len(mend) > 5, line
    assert outcome.code == code, line
    assert outcome.out == ""


@pytest.fixture
def untouched(tmp_path: Path) -> Callable[[], None]:
    """Check that no output and no temporary file was left beside the inputs."""

    def check_folder() -> None:
        left = {path.name for path in tmp_path.rglob("*")}
        assert not any(name.startswith((".", "out", "labels_", "rows", "record")) for name in left), left

    return check_folder


@pytest.mark.parametrize(("damage", "rule"), SCANS, ids=[damage.__name__ for damage, _ in SCANS])
def test_a_scan_that_cannot_be_right(
    damage: Damage,
    rule: str,
    cmc: Cmc,
    bundle: Path,
    scans: dict[str, Path],
    tmp_path: Path,
    untouched: Callable[[], None],
) -> None:
    damage(scans["mr"])
    words = ["--image", f"ct={scans['ct']}", "--image", f"mr={scans['mr']}", "-o", tmp_path / "out"]
    check(cmc("infer", bundle, *words), r"mr\.nii\.gz", rule)
    untouched()


def test_scans_that_are_said_to_share_a_frame_but_lie_apart(
    cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path, untouched: Callable[[], None]
) -> None:
    far = AFFINE.copy()
    far[2, 3] += 5000
    write_volume(make_scan(seed=1, affine=far), scans["mr"])
    words = ["--image", f"ct={scans['ct']}", "--image", f"mr={scans['mr']}", "-o", tmp_path / "out"]
    check(cmc("infer", bundle, *words, "--pairing", "registered"), "ct", "mr", "overlap", "separate")
    untouched()


@pytest.mark.parametrize(
    ("word", "patterns"),
    [
        ("pet=scan.nii", ("pet", "only ct, mr")),
        ("scan.nii", (r"'scan\.nii'", "MODALITY=PATH")),
        ("=scan.nii", ("MODALITY=PATH",)),
        ("ct=", ("MODALITY=PATH",)),
    ],
)
def test_an_image_that_does_not_say_what_it_is(
    word: str, patterns: tuple[str, ...], cmc: Cmc, bundle: Path, tmp_path: Path, untouched: Callable[[], None]
) -> None:
    check(cmc("infer", bundle, "--image", word, "-o", tmp_path / "out"), *patterns)
    untouched()


def test_an_image_given_twice(cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path) -> None:
    words = ["--image", f"ct={scans['ct']}", "--image", f"ct={scans['mr']}"]
    check(cmc("infer", bundle, *words, "-o", tmp_path / "out"), "ct is given twice")


def test_an_output_that_is_in_the_way_or_has_no_place(
    cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path
) -> None:
    words = ["infer", bundle, "--image", f"ct={scans['ct']}", "-o"]
    full = tmp_path / "full"
    full.mkdir()
    (full / "keep").write_text("me")
    check(cmc(*words, full), "full is not empty", "choose another")
    assert [path.name for path in full.iterdir()] == ["keep"]
    check(cmc(*words, scans["mr"]), "is a file")
    check(cmc(*words, tmp_path / "no" / "where"), "does not exist", "create")


@pytest.mark.parametrize(
    "words",
    [
        ["--sign", "key"], ["--dicom", "dir"], ["--irregular", "guess"],
        ["--backend", "caffe"], ["--threads", "0"], ["--pairing", "maybe"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_options_that_do_not_exist_are_never_ignored(
    words: list[str], cmc: Cmc, bundle: Path, scans: dict[str, Path], tmp_path: Path, untouched: Callable[[], None]
) -> None:
    outcome = cmc("infer", bundle, "--image", f"ct={scans['ct']}", "-o", tmp_path / "out", *words)
    check(outcome, words[0], "cmc infer --help")
    untouched()


@pytest.mark.parametrize("words", [["nonsense"], ["infer"], ["evaluate", "a"], ["--nonsense"], ["infer", "--wrong"]])
def test_wrong_use_is_one_line(words: list[str], cmc: Cmc) -> None:
    check(cmc(*words), "--help")


def changed_graph(bundle: Path) -> str:
    path = bundle / "graphs" / "f32" / "encoder_ct.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return r"encoder_ct\.onnx"


def changed_manifest(bundle: Path) -> str:
    document = json.loads((bundle / "manifest.json").read_text())
    document["spec"]["classes"]["classes"].pop()
    document["surprise"] = 1
    (bundle / "manifest.json").write_text(json.dumps(document))
    return "surprise"


def manifest_that_is_no_json(bundle: Path) -> str:
    (bundle / "manifest.json").write_text("{")
    return r"manifest\.json"


def other_schema(bundle: Path) -> str:
    document = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**document, "schema_version": 99}))
    return "99"


def missing_graph(bundle: Path) -> str:
    (bundle / "graphs" / "f32" / "decoder_ct.onnx").unlink()
    return r"decoder_ct\.onnx"


def extra_file(bundle: Path) -> str:
    (bundle / "graphs" / "stranger.bin").write_bytes(b"x")
    return r"stranger\.bin"


def no_bundle(bundle: Path) -> str:
    shutil.rmtree(bundle)
    return "mine"


def file_for_bundle(bundle: Path) -> str:
    shutil.rmtree(bundle)
    bundle.write_text("no bundle")
    return "mine"


BUNDLES = [
    changed_graph, changed_manifest, manifest_that_is_no_json, other_schema, missing_graph, extra_file, no_bundle,
    file_for_bundle,
]  # fmt: skip


@pytest.mark.parametrize("damage", BUNDLES, ids=[damage.__name__ for damage in BUNDLES])
def test_a_bundle_that_is_not_what_it_says(
    damage: Callable[[Path], str],
    cmc: Cmc,
    bundle: Path,
    scans: dict[str, Path],
    tmp_path: Path,
    untouched: Callable[[], None],
) -> None:
    mine = tmp_path / "mine.cmc"
    shutil.copytree(bundle, mine)
    name = damage(mine)
    check(cmc("infer", mine, "--image", f"ct={scans['ct']}", "-o", tmp_path / "out"), name)
    untouched()
    check(cmc("verify", mine), name)
    if damage is not changed_graph:  # `info` reads no graph
        check(cmc("info", mine), name)


def test_a_full_disk(
    monkeypatch: pytest.MonkeyPatch,
    cmc: Cmc,
    bundle: Path,
    scans: dict[str, Path],
    tmp_path: Path,
    untouched: Callable[[], None],
) -> None:
    calls = []

    def write(path: Path, **_: object) -> None:
        calls.append(path)
        path.write_bytes(b"half")
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(nifti, "write_bytes", write)
    outcome = cmc("infer", bundle, "--image", f"ct={scans['ct']}", "-o", tmp_path / "out")
    check(outcome, r"/out/confidence", "No space left", "free space", code=1)
    untouched()
