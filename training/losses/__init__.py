"""The losses of CMC."""
