"""Programs beside the sidecar: the transmitter of shared signals, and the webhook."""
