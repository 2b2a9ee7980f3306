"""Errors that are the user's to mend: shown as one line without a traceback, exit code 2."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 1200
"""Characters of a message at most, so that it fits on a screen with what is printed around it."""


class UserError(Exception):
    """A mistake in what the user gave; the message says what, where, and the way out.

    Messages longer than LONGEST are shortened.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message))


class Note(UserWarning):
    """What a user should know of what they gave, though nothing is wrong; the command line shows it as a line
    that begins with "note: "."""


def shortened(text: str, longest: int = LONGEST) -> str:
    """The text, or its first lines and how many more there are; long lines lose their middle."""
    if len(text) <= longest:
        return text
    lines = [_without_middle(line, longest // 2) for line in text.splitlines()]
    kept: list[str] = []
    while lines and sum(map(len, kept)) + len(kept) + len(lines[0]) <= longest - 40:
        kept.append(lines.pop(0))
    return "\n".join(kept + ([f"... and {len(lines)} more lines"] if lines else []))


def _without_middle(line: str, longest: int) -> str:
    half = (longest - 30) // 2
    left_out = len(line) - 2 * half
    return line if len(line) <= longest else f"{line[:half]} [{left_out} characters] {line[-half:]}"


def first_line(error: BaseException, longest: int = 200) -> str:
    """The first line of an error's message, cut at `longest` characters; its class where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:longest]


def on_one_line(error: BaseException, longest: int = 300) -> str:
    """An error's message with its lines joined, cut at `longest` characters; its class where it has none."""
    return " ".join(str(error).split())[:longest] or type(error).__name__


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """The suffix that names the nearest valid name, or nothing where none is near."""
    near = get_close_matches(word, list(valid), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
