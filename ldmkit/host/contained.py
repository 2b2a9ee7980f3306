"""Foreign code imported so that what it does to the process stays with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from ldmkit.errors import shortened


@contextmanager
def contained() -> Iterator[None]:
    """Within, what a plugin prints goes to standard error; afterwards the working directory is as before."""
    before = os.getcwd()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.chdir(before)


def described(error: BaseException) -> str:
    """The error's class and text, on one line; an error may fail to say what it is."""
    try:
        text = " ".join(str(error).split())
    except BaseException:
        text = "(its text cannot be had)"
    return shortened(f"{type(error).__name__}: {text}", 300)
