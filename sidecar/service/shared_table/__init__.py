"""A table of calls that apps of the pod may let pass without asking."""
