"""Reads recordings: files of events and sign-ins."""
