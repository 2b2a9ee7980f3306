"""Contract checks for plugin authors: one module a kind of component."""
