"""The console's drawings and suppositions: curves as SVG, and what a what-if takes for given."""
