"""Takes events: who may say them, where they are kept, when all sidecars have them."""
