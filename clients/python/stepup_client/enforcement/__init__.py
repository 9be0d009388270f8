"""Enforces the sidecar's decisions before an app's handlers."""
