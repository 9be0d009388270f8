"""Reads and writes the messages of Envoy's ext_authz."""
