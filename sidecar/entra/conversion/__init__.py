"""Converts the parts of a policy of Microsoft Entra ID."""
