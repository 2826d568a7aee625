"""Training: data, network, losses, engine. Needs the extra `train`."""
