"""Semantic-map encoders."""
