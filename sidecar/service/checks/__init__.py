"""Checks calls, and answers them."""
