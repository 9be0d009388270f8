"""Reads and writes security event tokens, streams and subjects."""
