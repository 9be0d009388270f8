"""stepup-sidecar: re-scores live sessions as signals change and challenges sensitive calls."""

__version__ = "0.1.0"
