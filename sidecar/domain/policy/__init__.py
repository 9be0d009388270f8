"""Policies as values, and what can be said of them without a session."""
