"""The CMC network and its parts."""
