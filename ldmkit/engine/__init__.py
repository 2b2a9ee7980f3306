"""The engine: a recipe's components joined, weights found, pictures sampled."""
