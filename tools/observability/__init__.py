"""Writes the alert rules, their tests and the dashboards that are under deploy/observability."""
