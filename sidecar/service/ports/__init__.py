"""The ports of the services: the store's, and the calls that doors make."""
