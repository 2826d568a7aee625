"""Configuration, stages, trainer and checkpoints."""
