"""Scanning and reading DICOM, beside pydicom alone."""
