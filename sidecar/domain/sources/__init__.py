"""Sources: who says something, and what their word may do."""
