"""Backends and precisions of one processor, side by side on one case: `make bench-backends`."""
