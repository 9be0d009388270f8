"""Geography databases, and the configured networks and locations."""
