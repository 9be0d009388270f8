"""Signed bundles of policies: their archive, their signatures, and which of them is in force."""
