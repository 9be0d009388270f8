"""The services: intake, checks, view, audit, sweep. Async starts here; ports are Protocols."""
