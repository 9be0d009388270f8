"""Queues of what goes to outputs, such as collectors and files, where nobody waits for it."""
