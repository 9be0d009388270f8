"""Keeps the view current where news alone do not: what was missed, what was left for later."""
