"""One series of a study for each modality."""
