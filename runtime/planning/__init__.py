"""Before anything runs: which scans go together, in which windows, and what that takes in bytes and seconds."""
