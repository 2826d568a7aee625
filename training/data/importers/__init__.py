"""Data lists from the layouts of other programs."""
