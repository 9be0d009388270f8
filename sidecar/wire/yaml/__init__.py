"""Reads YAML with the place of each value, and writes it."""
