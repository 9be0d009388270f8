"""Policies of a set as rules: which concern a session, which of them hold, and until when."""
