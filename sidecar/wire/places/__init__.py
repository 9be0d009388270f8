"""Reads countries, places and the records of geography databases."""
