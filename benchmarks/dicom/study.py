"""Generated series of real size, with headers about as long as a scanner's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

__all__ = ["make_ct", "make_study"]

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def make_study(folder: Path, *, files: int, series: int) -> None:
    """`files` images of 64×64 in `series` series in one folder; the last series has four b-values."""
    per = [files // series + (index < files % series) for index in range(series)]
    for number, count in enumerate(per):
        volumes = 4 if number == series - 1 else 1
        template = _template(number, modality="CT" if number % 2 == 0 else "MR")
        for index in range(count):
            template.ImagePositionPatient = [-100, -100, 2.5 * (index // volumes)]
            template.SOPInstanceUID = generate_uid()
            template.InstanceNumber = index + 1
            if volumes > 1:
                template.DiffusionBValue = 100.0 * (index % volumes)
            _with_pixels(template, np.full((64, 64), index % 4096, np.int16))
            _save(template, folder / f"{number}-{index:05d}.dcm")


def make_ct(folder: Path, *, slices: int, progress: Callable[[int], None] | None = None) -> None:
    """A 512×512 CT of `slices` files, of smooth noise."""
    generator = np.random.default_rng(0)
    base = generator.integers(-200, 300, (512, 512), dtype=np.int16)
    template = _template(1, modality="CT")
    for index in range(slices):
        template.ImagePositionPatient = [-200, -200, 0.8 * index]
        template.SOPInstanceUID = generate_uid()
        _with_pixels(template, np.roll(base, index, axis=0))
        _save(template, folder / f"{index:05d}.dcm")


def _template(number: int, *, modality: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CT if modality == "CT" else MR
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", str(number)])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"] if modality == "CT" else ["ORIGINAL", "PRIMARY", "M", "ND"]
    dataset.Modality, dataset.SeriesNumber = modality, number
    dataset.PatientName, dataset.PatientID, dataset.PatientSex, dataset.PatientAge = "Made^Up", "made-up", "O", "050Y"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20240102"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "030405.678"
    dataset.AccessionNumber, dataset.StudyID, dataset.ReferringPhysicianName = "123456", "1", "Nobody"
    dataset.Manufacturer, dataset.ManufacturerModelName = "nobody", "none"
    dataset.InstitutionName, dataset.StationName, dataset.StudyDescription = "nowhere", "st1", "abdomen"
    dataset.SeriesDescription, dataset.ProtocolName, dataset.BodyPartExamined = f"series {number}", "prot", "ABDOMEN"
    dataset.PatientPosition, dataset.PositionReferenceIndicator = "HFS", "SN"
    dataset.SoftwareVersions, dataset.DeviceSerialNumber, dataset.AcquisitionNumber = "1.2.3", "42", 1
    dataset.SliceThickness, dataset.KVP, dataset.ConvolutionKernel = "2.5", "120", "B30f"
    dataset.DataCollectionDiameter, dataset.ReconstructionDiameter = "500", "400"
    dataset.DistanceSourceToDetector, dataset.DistanceSourceToPatient = "1040", "570"
    dataset.GantryDetectorTilt, dataset.TableHeight, dataset.RotationDirection = "0", "150", "CW"
    dataset.ExposureTime, dataset.XRayTubeCurrent, dataset.Exposure, dataset.FilterType = 500, 200, 100, "0"
    dataset.GeneratorPower, dataset.FocalSpots, dataset.DateOfLastCalibration = 30, "1.2", "20240101"
    dataset.RepetitionTime, dataset.EchoTime, dataset.EchoNumbers = "3000", "80", 1
    dataset.MagneticFieldStrength, dataset.FlipAngle, dataset.SpacingBetweenSlices = "3", "90", "2.5"
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "SE", ["SK", "SP"], "FS"
    dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.8, 0.8]
    dataset.WindowCenter, dataset.WindowWidth = ["40", "400"], ["400", "2000"]
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = "1", "0", "HU"
    for keyword in ("ReferencedStudySequence", "ReferencedImageSequence"):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, generate_uid(entropy_srcs=[keyword])
        setattr(dataset, keyword, Sequence([item]))
    for group in (0x0009, 0x0019, 0x0029):
        block = dataset.private_block(group, "NOBODY 01", create=True)
        for element in range(12):
            block.add_new(element, "LO", "value")
    return dataset


def _with_pixels(dataset: Dataset, plane: np.ndarray) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = plane.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelData = plane.astype("<i2").tobytes()


def _save(dataset: Dataset, path: Path) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    FileDataset(str(path), dataset, preamble=b"\0" * 128, file_meta=meta).save_as(path, enforce_file_format=True)
