"""OpenTelemetry: what is sent to collectors, and trace contexts in calls to others."""
