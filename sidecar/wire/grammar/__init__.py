"""Describes what files may hold, once: rules that read it, give its JSON Schema and its words."""
