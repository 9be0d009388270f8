"""Reads the configuration: files, environment, secret files."""
