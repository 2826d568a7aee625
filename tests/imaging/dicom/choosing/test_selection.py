"""Which series is chosen, which is not and why, and when nobody is asked to guess."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from cmc_sdk.bundle.series_rule import SeriesRule
from cmc_sdk.errors import DataError, InputError
from cmc_sdk.imaging.dicom.choosing.matching import occurs, rejection
from cmc_sdk.imaging.dicom.choosing.selection import AmbiguousSeriesError, Selection, Wanted, select_series, volume_key
from cmc_sdk.imaging.dicom.reading.scan import DicomScan, scan_dicom
from tests.imaging.dicom.series import SeriesSpec, write_series

T2 = Wanted("t2", "MR", SeriesRule(words=("t2*",), without=("localizer",)))
ADC = Wanted("adc", "MR", SeriesRule(words=("adc",)))


def write_study(folder: Path, *series: dict[str, object]) -> DicomScan:
    for number, attributes in enumerate(series):
        extra = {"SeriesNumber": number + 1, "PatientID": "A", "FrameOfReferenceUID": "1.2.3", **attributes}
        size = extra.pop("size", (6, 5, 4))
        write_series(folder / str(number), SeriesSpec(size_vox=size, modality="MR", seed=number, extra=extra))
    return scan_dicom(folder)


def choose(scan: DicomScan, *wanted: Wanted, **decided: str) -> Selection:
    return select_series(scan, wanted=wanted or (T2, ADC), reference="t2", decided=decided)


def described(selection: Selection) -> dict[str, str]:
    return {name: volume.words.series_description for name, volume in selection.chosen.items()}


def reasons(selection: Selection, modality: str) -> dict[str, str]:
    return {
        item.volume.words.series_description: item.reason for item in selection.rejected if item.modality == modality
    }


def test_each_modality_gets_its_series_and_every_other_has_a_reason(tmp_path: Path) -> None:
    scan = write_study(
        tmp_path,
        {"SeriesDescription": "t2_tse_tra"},
        {"SeriesDescription": "ep2d_diff", "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]},
        {"SeriesDescription": "t1_tse"},
    )
    selection = choose(scan)
    assert described(selection) == {"t2": "t2_tse_tra", "adc": "ep2d_diff"}
    assert reasons(selection, "t2") == {
        "ep2d_diff": "no word of its header is 't2*'",
        "t1_tse": "no word of its header is 't2*'",
    }
    assert set(reasons(selection, "adc")) == {"t2_tse_tra", "t1_tse"}
    assert selection.notes == ()


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"words": ("adc", "t2*")}, "no word of its header is 'adc'"),
        ({"words": ("adc|diff",)}, "no word of its header is 'adc' or 'diff'"),
        ({"without": ("tse",)}, "a word of its header is 'tse'"),
        ({"contrast": "yes"}, "its header names no contrast agent"),
        ({"orientation": ("sagittal", "coronal")}, "it is axial, not sagittal or coronal"),
        ({"b_value": (0, 100)}, "its header gives no b-value, not 0 to 100 s/mm²"),
        ({"min_slices": 5}, "it has 4 slices, fewer than 5"),
        ({"slice_spacing_mm": (3, 5)}, "its slices are 2 mm apart, not 3 to 5 mm"),
        ({"pixel_spacing_mm": (0.2, 0.8)}, "its pixels are 1 mm apart, not 0.2 to 0.8 mm"),
        ({}, None),
        ({"words": ("T2", "tse tra"), "contrast": "no", "orientation": ("axial",), "min_slices": 4}, None),
        ({"slice_spacing_mm": (2, 2), "pixel_spacing_mm": (1, 1)}, None),
    ],
)
def test_every_condition_of_a_rule(rule: dict[str, object], reason: str | None, tmp_path: Path) -> None:
    (volume,) = write_study(tmp_path, {"SeriesDescription": "T2_tse-tra"}).series
    assert rejection(volume, dicom_modality="MR", rule=SeriesRule(**rule)) == reason
    assert rejection(volume, dicom_modality="CT", rule=SeriesRule(**rule)) == "it is MR, not CT"
    assert rejection(volume, dicom_modality="OT", rule=None) is None


def test_contrast_and_b_value_are_read_from_the_header(tmp_path: Path) -> None:
    scan = write_study(tmp_path, {"ContrastBolusAgent": "Gadoteric acid", "DiffusionBValue": 800.0})
    (volume,) = scan.series
    assert rejection(volume, dicom_modality="MR", rule=SeriesRule(contrast="yes", b_value=(700, 900))) is None
    assert rejection(volume, dicom_modality="MR", rule=SeriesRule(contrast="no")) == "its header names a contrast agent"
    found = rejection(volume, dicom_modality="MR", rule=SeriesRule(b_value=(0, 100)))
    assert found == "its b-value is 800, not 0 to 100 s/mm²"


@pytest.mark.parametrize(
    ("wanted", "words", "expected"),
    [
        ("t2", {"t2", "tse"}, True),
        ("t2", {"t2w"}, False),
        ("t2*", {"t2w"}, True),
        ("*flair", {"t2flair"}, True),
        ("haste|t2*", {"haste"}, True),
        ("t2 tse", {"t2"}, False),
        ("t2_tse", {"tse", "t2"}, True),
        ("ADC", {"adc"}, True),
        ("t2", set(), False),
    ],
)
def test_words(wanted: str, words: set[str], expected: bool) -> None:
    assert occurs(wanted, words) is expected


def test_two_that_fit_stop_unless_one_is_named(tmp_path: Path) -> None:
    scan = write_study(tmp_path, {"SeriesDescription": "t2 first"}, {"SeriesDescription": "t2 second"})
    with pytest.raises(AmbiguousSeriesError) as caught:
        choose(scan, T2)
    for volume in scan.series:
        assert volume.series_instance_uid in str(caught.value)
        assert volume.words.series_description in str(caught.value)
    assert "say which with --series t2=UID" in str(caught.value)
    second = scan.series[1]
    selection = choose(scan, T2, t2=second.series_instance_uid)
    assert selection.chosen == {"t2": second}
    assert reasons(selection, "t2") == {"t2 first": "another was named by --series"}


def test_a_volume_inside_a_series_is_named_by_what_tells_it_apart(tmp_path: Path) -> None:
    for value in (0.0, 800.0):
        extra = {"SeriesInstanceUID": "1.2.9", "DiffusionBValue": value}
        write_series(tmp_path / str(value), SeriesSpec(size_vox=(6, 5, 4), modality="MR", seed=int(value), extra=extra))
    scan = scan_dicom(tmp_path)
    keys = [volume_key(volume) for volume in scan.series]
    assert len(set(keys)) == 2
    assert all(key.startswith("1.2.9:") for key in keys)
    with pytest.raises(AmbiguousSeriesError, match="2 series fit dwi"):
        choose(scan, Wanted("dwi", "MR"))
    with pytest.raises(AmbiguousSeriesError, match="2 series fit dwi"):
        choose(scan, Wanted("dwi", "MR"), dwi="1.2.9")
    assert choose(scan, Wanted("dwi", "MR"), dwi=keys[1]).chosen["dwi"].b_value == 800


def test_one_that_fits_two_modalities_is_no_choice(tmp_path: Path) -> None:
    scan = write_study(tmp_path, {"SeriesDescription": "only"})
    with pytest.raises(AmbiguousSeriesError, match="only fits both a and b"):
        select_series(scan, wanted=(Wanted("a", "MR"), Wanted("b", "OT")), reference="a")


def test_what_is_named_against_its_rule_is_taken_and_said_so(tmp_path: Path) -> None:
    scan = write_study(tmp_path, {"SeriesDescription": "t1"}, {"SeriesDescription": "t2"})
    selection = choose(scan, T2, t2=scan.series[0].series_instance_uid)
    assert selection.notes == ("t2: named by --series, although no word of its header is 't2*'",)


def test_a_strangers_series_is_not_taken_and_said_so(tmp_path: Path) -> None:
    scan = write_study(
        tmp_path,
        {"SeriesDescription": "t2", "StudyInstanceUID": "1.5"},
        {"SeriesDescription": "adc", "StudyInstanceUID": "1.5", "PatientID": "B"},
    )
    selection = choose(scan)
    assert described(selection) == {"t2": "t2"}
    assert reasons(selection, "adc")["adc"] == "it is of another patient than the series that was chosen first"
    assert selection.notes == ("adc: no series fits, so it is taken as absent",)
    stranger = next(volume for volume in scan.series if volume.words.series_description == "adc")
    with pytest.raises(InputError, match="of another patient"):
        choose(scan, adc=stranger.series_instance_uid)


def test_another_frame_of_reference_is_the_second_choice_and_never_a_pair(tmp_path: Path) -> None:
    inside = {"SeriesDescription": "adc inside"}
    outside = {"SeriesDescription": "adc outside", "FrameOfReferenceUID": "1.2.4"}
    selection = choose(write_study(tmp_path / "both", {"SeriesDescription": "t2"}, inside, outside))
    assert described(selection)["adc"] == "adc inside"
    assert reasons(selection, "adc")["adc outside"] == (
        "it is in another frame of reference than one that fits as well"
    )
    assert selection.notes == ()
    alone = choose(write_study(tmp_path / "one", {"SeriesDescription": "t2"}, outside))
    assert described(alone)["adc"] == "adc outside"
    (note,) = alone.notes
    assert note == "t2 and adc are not paired: they are in different frames of reference, so each is labelled alone"


def test_nothing_that_fits_is_an_error_with_all_reasons(tmp_path: Path) -> None:
    scan = write_study(tmp_path, {"SeriesDescription": "t1"}, {"SeriesDescription": "t2", "size": (6, 5, 1)})
    with pytest.raises(DataError) as caught:
        choose(scan)
    assert "1 t1 for t2: no word of its header is 't2*'" in str(caught.value)
    assert "too few slices" in str(caught.value)


@pytest.mark.parametrize(
    ("decided", "message"),
    [({"pet": "1.2.3"}, "there is no modality 'pet', only t2, adc"), ({"t2": "9.9"}, "the study holds no such series")],
)
def test_names_that_are_not_there_are_refused(decided: dict[str, str], message: str, tmp_path: Path) -> None:
    scan = write_study(tmp_path, {"SeriesDescription": "t2"})
    with pytest.raises(InputError, match=message):
        choose(scan, **decided)


@pytest.mark.parametrize(
    "rule",
    [{"words": ("*",)}, {"words": ("t2|",)}, {"b_value": (5, 1)}, {"min_slices": 0}, {"word": ("t2",)}],
)
def test_rules_that_say_nothing_or_contradict_themselves_are_refused(rule: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SeriesRule(**rule)


@pytest.mark.data
def test_t1_with_contrast_and_flair_of_a_real_study(test_data: Path) -> None:
    # The crop is another patient's under the same ID, study and frame: no header tells, only what it is called does.
    wanted = (
        Wanted("t1c", "MR", SeriesRule(words=("t1*",), contrast="yes")),
        Wanted("flair", "MR", SeriesRule(words=("flair*",))),
    )
    selection = select_series(scan_dicom(test_data / "dicom_mr_pgbm003"), wanted=wanted, reference="t1c")
    assert described(selection) == {"t1c": "T1post", "flair": "FLAIR_reg"}
    assert reasons(selection, "t1c")["HippoCrop"] == "no word of its header is 't1*'"
    assert selection.notes == ()


@pytest.mark.data
def test_b_values_of_one_real_series_come_apart_by_a_rule(test_data: Path) -> None:
    wanted = tuple(
        Wanted(f"b{value}", "MR", SeriesRule(words=("diff",), b_value=(value, value), without=("calc*", "adc")))
        for value in (50, 400, 800)
    )
    selection = select_series(scan_dicom(test_data / "dicom_mr_prostatex0000"), wanted=wanted, reference="b50")
    assert {name: volume.b_value for name, volume in selection.chosen.items()} == {"b50": 50, "b400": 400, "b800": 800}
