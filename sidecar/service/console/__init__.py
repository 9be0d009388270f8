"""The services of the console: lists, states of the past, the feed, the health of all parts."""
