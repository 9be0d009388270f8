"""The `sidecar` command: one module a subcommand, no logic of its own."""
