"""What `sidecar doctor` says of each part of a set-up."""
