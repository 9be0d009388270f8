"""The table of decisions in shared memory, as bytes."""
