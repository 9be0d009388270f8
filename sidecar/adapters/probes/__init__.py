"""Looks at one part of a set-up each, for `sidecar doctor`."""
