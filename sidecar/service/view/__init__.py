"""The live sessions that this sidecar serves, kept current."""
