"""What a run will take in bytes and seconds, before it starts."""
