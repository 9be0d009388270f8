"""The formats of other people's logs, as recordings."""
