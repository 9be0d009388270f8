"""Reads policies and their parts, and writes their explanations."""
