"""What apps import. Depends on nothing else in this package."""
