"""The settings of each part of the daemon."""
