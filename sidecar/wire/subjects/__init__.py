"""Subjects as others name them (RFC 9493), and whose names they are here."""
