"""Opens listeners, shares their places among peers, and serves ASGI applications on them."""
