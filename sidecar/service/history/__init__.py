"""The history: a durable, bounded record of what happened to whom, each thing once."""
