"""Reads calls as gateways tell them, and writes answers over HTTP."""
