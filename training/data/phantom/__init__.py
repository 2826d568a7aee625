"""A multimodal phantom of an abdomen whose anatomy varies by patient."""

from cmc_sdk.training.data.phantom.make import make_phantom

__all__ = ["make_phantom"]
