"""Connections to the sidecar's local socket, and what is said over them."""
