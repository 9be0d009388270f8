"""A session: the fold of its facts, and what follows from it."""
