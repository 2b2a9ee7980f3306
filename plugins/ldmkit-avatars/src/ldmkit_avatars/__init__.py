"""Avatars and landscapes drawn from a seed."""
