"""The observations that services report to logs and metrics."""
