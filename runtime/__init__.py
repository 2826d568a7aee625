"""The lean runtime: from a scan to a label on its own grid, without torch."""
