"""Traces: the contexts that callers send, those that events have, and what spans may say."""
