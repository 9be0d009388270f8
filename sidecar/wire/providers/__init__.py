"""Identity providers: what they offer, and where they set it."""
