"""Noise schedules, spacings, objectives, samplers and guidance."""
