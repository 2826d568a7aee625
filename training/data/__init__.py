"""Data lists, windows, pairing and the phantom."""
