"""Trained weights for the shipped recipes."""
