"""Compact forms of values that are held in memory and seldom looked at."""
