"""The journeys: intake, check, view, evaluation, sweep. Async starts here; ports are Protocols."""
