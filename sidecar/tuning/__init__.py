"""Tools for an author of policies: recordings, replay, scenarios, trial."""
