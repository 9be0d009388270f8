"""The gRPC listener, for Envoy."""
