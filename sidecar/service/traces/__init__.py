"""Traces: the spans of checks, of events and of calls to others."""
