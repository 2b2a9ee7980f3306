"""Conditioners that encode semantic maps."""
