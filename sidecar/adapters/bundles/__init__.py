"""Sources of signed bundles, and the cache that keeps them."""
