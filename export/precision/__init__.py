"""Half precision written into the graphs: which parts stay FP32, decided on real windows."""
