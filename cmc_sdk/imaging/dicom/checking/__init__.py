"""Checks that an object that was written holds the labels where they lie."""
