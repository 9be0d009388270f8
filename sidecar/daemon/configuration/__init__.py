"""Loads and examines everything that is configured."""
