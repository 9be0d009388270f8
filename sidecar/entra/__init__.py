"""Converts Conditional Access of Microsoft Entra ID to our policies."""
