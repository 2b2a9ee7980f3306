"""Data sets: picture folders and emoji."""
