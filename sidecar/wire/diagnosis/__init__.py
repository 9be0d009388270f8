"""Diagnoses of `sidecar doctor` for each part of a set-up."""
