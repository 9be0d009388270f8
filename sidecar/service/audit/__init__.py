"""Logs, counts and publishes each change of a session once, whichever sidecar made it."""
