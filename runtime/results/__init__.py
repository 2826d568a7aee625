"""What a run gives back: labels, the quality flag and the record."""
