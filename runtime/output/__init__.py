"""A result as files: NIfTI, DICOM objects, the record, and the page."""
