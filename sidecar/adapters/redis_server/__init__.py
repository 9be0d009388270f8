"""A server of the store: its rights, its state, why it cannot be used, and an embedded one."""
