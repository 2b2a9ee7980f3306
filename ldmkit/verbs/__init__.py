"""What the command line's verbs do, for scripts as well."""
