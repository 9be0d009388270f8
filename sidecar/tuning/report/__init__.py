"""Writes the report of a replay."""
