"""The health of the daemon and of its store, and what operators look at."""
