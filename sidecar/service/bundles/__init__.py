"""Takes up signed bundles of policies, all sidecars at one moment."""
