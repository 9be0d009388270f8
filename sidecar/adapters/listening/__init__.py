"""Listeners: how they are opened, and which peer gets which share of them."""
