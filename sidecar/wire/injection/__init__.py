"""Adds the sidecar to pods: what is added, where, and in which form a webhook says so."""
