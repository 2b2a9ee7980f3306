"""Low-resolution and masked-image concatenation."""
