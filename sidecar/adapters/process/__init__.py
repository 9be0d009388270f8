"""This process: its signals, its children, its memory."""
