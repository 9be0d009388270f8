"""Metrics and log lines: every name of one stands here."""
