"""Cold start: from the start of a process to the first window, by part."""
