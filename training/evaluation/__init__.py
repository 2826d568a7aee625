"""Metrics and tables over labelled cases."""
