"""The intake listener: what others than the pod itself send."""
