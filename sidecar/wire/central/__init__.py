"""The central listener: its configuration, and who may ask there."""
