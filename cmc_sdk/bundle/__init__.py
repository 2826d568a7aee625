"""The bundle: manifest, files and hashes."""
