"""Exported denoisers, run by other runtimes."""
