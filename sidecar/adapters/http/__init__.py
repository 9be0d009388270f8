"""The HTTP listener of the pod's app and gateway."""
