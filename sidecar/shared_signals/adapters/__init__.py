"""The listeners and clients of shared signals, and what they keep in the store."""
