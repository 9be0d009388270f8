"""Codecs without I/O: bytes, claims, headers, store fields and YAML to and from domain values."""
