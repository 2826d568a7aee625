"""DICOM in and out: series to volumes, labels to SEG, RTSTRUCT and SR."""
