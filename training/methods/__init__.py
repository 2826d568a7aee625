"""Semi-supervised methods, one a file."""
