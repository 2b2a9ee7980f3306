"""Emoji with words: the built set and the data sets `emoji` and `fluent-emoji` that read it."""
