"""The form in which the history of users and devices is kept."""
