"""The settings: what each part of the daemon can be told."""
