"""What the losses do to Dice, measured on real anatomy: `python -m benchmarks.method`."""
