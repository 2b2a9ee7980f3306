"""Denoisers in files that other programs run."""
