"""Sessions of the view as they are held: packed until somebody asks."""
