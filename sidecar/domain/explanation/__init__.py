"""Explains decisions and findings, part by part."""
