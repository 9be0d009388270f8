"""The story of `sidecar demo`: sample policies, places, people, and a provider to sign in at."""
