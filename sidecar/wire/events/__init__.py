"""Reads events and the lines of the local socket."""
