"""Scans as a run takes them: chosen from a study, or made up, and made ready once."""
