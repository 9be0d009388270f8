"""What an author of policies uses: recordings, replay, scenarios, trial."""
