"""Forecasts for report-only policies, and their promotion."""
