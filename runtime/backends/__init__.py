"""Inference backends behind one class: `base` says what they offer, `catalogue` which there are."""
