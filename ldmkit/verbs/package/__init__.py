"""Models that travel: a folder with recipe, weights and card; the same as a wheel; its place on the hub."""
