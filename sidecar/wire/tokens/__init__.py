"""Reads tokens, keys and proofs of possession."""
