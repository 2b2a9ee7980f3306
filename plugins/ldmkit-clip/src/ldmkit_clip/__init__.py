"""CLIP networks: guidance, a text conditioner and metrics."""
