"""Checks what fits together in a configuration, and what makes it weak."""
