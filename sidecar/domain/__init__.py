"""Values and decisions. No I/O, no clock, no randomness, no trio: `now` is an argument."""
