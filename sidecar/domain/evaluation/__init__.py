"""Evaluates policies for a session, and decides about a call."""
