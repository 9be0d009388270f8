"""Wires the doors at which others than the pod itself ask: intake, central."""
