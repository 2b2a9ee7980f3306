"""The plugin host: which components exist."""
