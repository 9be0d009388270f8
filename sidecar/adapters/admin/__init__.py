"""The admin listener: metrics, probes, and what operators ask."""
