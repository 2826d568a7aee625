"""Encapsulated pixels, decoded in a process of its own."""
