"""Labels as DICOM objects: SEG, RTSTRUCT and SR."""
