"""The forms of what lies in the store, and the names of its keys."""
