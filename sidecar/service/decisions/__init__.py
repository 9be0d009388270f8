"""The log of decisions: which are taken, what is written of them, and what is lost."""
