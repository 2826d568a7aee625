"""How commands talk to a person or to a program: JSON, bars, tables."""
