"""One outside thing each. Foreign exceptions are translated once, here."""
