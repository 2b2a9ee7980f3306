"""Errors that are the user's to mend: shown as one line without a traceback, exit code 2."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in what the user gave; the message says what, where, and the way out."""


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """The suffix that names the nearest valid name, or nothing where none is near."""
    near = get_close_matches(word, list(valid), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
