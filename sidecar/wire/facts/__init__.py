"""Facts as bytes: what of them is written, in which form, and read again."""
