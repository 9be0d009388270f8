"""Files: watched, written in one step, and the spool."""
