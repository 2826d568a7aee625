"""Engines built ahead of time, without a GPU."""
