"""Plays scenarios and answers what-if."""
