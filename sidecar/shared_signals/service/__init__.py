"""Receives, keeps and delivers security event tokens."""
