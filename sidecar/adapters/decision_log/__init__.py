"""The outputs of the log of decisions: standard output, a file that is rotated, a collector."""
