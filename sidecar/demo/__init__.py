"""What `sidecar demo` acts out: sample policies, places, people, and a provider to sign in at."""
