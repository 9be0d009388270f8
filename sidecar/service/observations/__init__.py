"""What services report to logs and metrics."""
