"""Reads what providers send to end sessions."""
