"""Reads calls as gateways describe them, and writes responses over HTTP."""
