"""Decisions that the sidecar has written down, read in the app's own process."""
