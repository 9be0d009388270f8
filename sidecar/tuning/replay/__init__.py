"""Replays recordings through policies, in virtual time."""
