"""Feature networks by name."""
