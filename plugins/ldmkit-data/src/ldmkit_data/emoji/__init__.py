"""Emoji with words: the built set and the data set `fluent-emoji` that reads it."""
