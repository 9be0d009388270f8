"""The doors at which events come in: who speaks, and what they are answered."""
