"""The time-conditional UNet with cross-attention."""
