"""Real files with real oddities."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from cmc_sdk import read_volume, write_volume
from cmc_sdk.errors import DataError
from cmc_sdk.imaging.geometry import overlap_mm
from cmc_sdk.imaging.orientation import axis_codes
from tests.reference.geometry import header_block, nifti1_fields, qform_matrix, sform_matrix

pytestmark = pytest.mark.data

BRATS = "brats13_flair_t1c/brats_2013_pat0003_1"


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        (f"{BRATS}/Flair_subtrMeanDivStd.nii.gz", "LPS"),
        ("synthseg_brain_labels/training_seg_01.nii.gz", "LIA"),
        ("open_ms_mni/patient26/FLAIR.nii.gz", "LAS"),
        ("totalseg_ct_mr/example_ct_sm.nii.gz", "RAS"),
        ("amos_masks/amos_0002_MRI_gt.nii.gz", "RAS"),
        ("msd_hippocampus/images/hippocampus_001.nii.gz", "RAS"),
        ("msd_prostate_labels/gt_segmentations/prostate_00.nii.gz", "RAS"),
    ],
)
def test_grid_by_the_book_and_kept_bit_for_bit(test_data, tmp_path, path, codes):
    volume = read_volume(test_data / path)
    fields = nifti1_fields(header_block(test_data / path))
    truth = sform_matrix(fields) if fields.sform_code > 0 else qform_matrix(fields)
    assert np.allclose(volume.affine_mm, truth, atol=1e-4)
    assert axis_codes(volume.affine_mm) == codes
    assert volume.notes == ()
    write_volume(volume.with_array(np.zeros(volume.size_vox, np.uint8)), tmp_path / "label.nii.gz")
    assert nifti1_fields(header_block(tmp_path / "label.nii.gz")).geometry_bytes == fields.geometry_bytes
    assert np.array_equal(nib.load(tmp_path / "label.nii.gz").affine, nib.load(test_data / path).affine)


@pytest.mark.parametrize(("code", "form"), [("qform_code", "sform"), ("sform_code", "qform")])
def test_either_form_alone_gives_the_same_place(test_data, tmp_path, code, form):
    image = nib.load(test_data / "tcga_fg6692_bratsspace" / "simple.nii.gz")
    both = read_volume(test_data / "tcga_fg6692_bratsspace" / "simple.nii.gz")
    image.header[code] = 0
    nib.Nifti1Image(np.asanyarray(image.dataobj), None, image.header).to_filename(tmp_path / "one.nii.gz")
    alone = read_volume(tmp_path / "one.nii.gz")
    assert alone.same_grid(both, tolerance_mm=0.05), form


def test_labels_stored_as_floats(test_data):
    tumour = read_volume(test_data / BRATS / "OTMultiClass.nii.gz", label=True)
    assert tumour.stored.dtype == np.uint8
    assert set(np.unique(tumour.stored)) <= {0, 1, 2, 3, 4}
    organs = read_volume(test_data / "amos_masks" / "amos_0002_MRI_gt.nii.gz")
    assert organs.stored.dtype == np.float64
    assert np.array_equal(
        read_volume(test_data / "amos_masks" / "amos_0002_MRI_gt.nii.gz", label=True).stored, organs.stored
    )


def test_a_brain_mask_of_0_99999997(test_data):
    path = test_data / BRATS / "brainmask.nii.gz"
    mask = read_volume(path, label=True)
    true = nib.load(path).get_fdata()
    assert (true == 1).sum() < 0.5 * (true > 0.5).sum()  # the trap: it is scaled, and its ones are not 1
    assert set(np.unique(mask.stored)) == {0, 1}
    assert np.array_equal(mask.stored == 1, true > 0.5)


def test_a_scan_given_as_a_label_is_refused(test_data):
    with pytest.raises(DataError, match="not integers"):
        read_volume(test_data / BRATS / "Flair_subtrMeanDivStd.nii.gz", label=True)
    with pytest.raises(DataError, match=r"outside 0 … 255.*\(511\)"):
        read_volume(test_data / "synthseg_brain_labels" / "training_seg_01.nii.gz", label=True)


def test_sequences_of_one_patient_on_their_own_grids_overlap(test_data):
    volumes = [read_volume(path) for path in sorted((test_data / "tcga_fg6692_native").glob("*/*.nii.gz"))]
    assert len(volumes) == 4
    assert len({volume.size_vox for volume in volumes}) > 1
    for other in volumes[1:]:
        assert min(overlap_mm(volumes[0], other)) > 100.0


def test_every_file_is_read_with_the_values_that_nibabel_gives(test_data):
    paths = sorted((test_data / "msd_hippocampus").rglob("*.nii.gz"))[::7]
    paths += sorted((test_data / "totalseg_ct_mr").glob("example_?[tr]_sm.nii.gz"))
    assert len(paths) > 10
    for path in paths:
        assert np.allclose(read_volume(path).data, nib.load(path).get_fdata(dtype=np.float32))
