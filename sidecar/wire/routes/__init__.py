"""Routes: which paths are of which authentication contexts."""
