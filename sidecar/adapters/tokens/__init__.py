"""Verifies tokens: keys, introspection, secrets."""
