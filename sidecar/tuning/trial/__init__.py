"""What report-only policies would have asked for, and their promotion."""
