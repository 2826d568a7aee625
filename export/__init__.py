"""From a trained network to a bundle. Needs the extra `export`."""
