"""The webhook that adds the sidecar to pods, and certificates for it."""
