"""Pseudonyms, and what the store holds where identifiers are keyed."""
