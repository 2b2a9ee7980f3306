"""Foreign code imported so that what it does to the process stays with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from ldmkit.errors import Note, shortened

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def contained() -> Iterator[None]:
    """Within, what a plugin prints goes to standard error; afterwards the working directory, the handlers of
    SIGINT and SIGTERM, the recursion limit and torch's defaults are as before."""
    before, limit, hook = os.getcwd(), sys.getrecursionlimit(), sys.excepthook
    handlers, torch_before = [signal.getsignal(number) for number in SIGNALS], _of_torch()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.chdir(before)
        sys.setrecursionlimit(limit)
        sys.excepthook = hook
        if threading.current_thread() is threading.main_thread():
            for number, handler in zip(SIGNALS, handlers, strict=True):
                signal.signal(number, handler)
        _set_torch(torch_before)


@contextmanager
def unchanged(whose: str) -> Iterator[None]:
    """Afterwards environment variables and warning filters are as before; a note names what a plugin changed.

    Around the import of a plugin's registration alone: the libraries that a component imports set their own.
    whose: the distribution's name.
    """
    before, filters = dict(os.environ), list(warnings.filters)
    try:
        with warnings.catch_warnings():
            try:
                yield
            finally:
                words = [*_variables(before), *(["warning filters"] if warnings.filters != filters else [])]
    finally:
        os.environ.update(before)
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
    if words:
        line = f"plugin {whose} changes {shortened(', '.join(words), 300)} when it is imported: put back"
        warnings.warn(Note(line), stacklevel=3)


def _variables(before: Mapping[str, str]) -> list[str]:
    """The names of the environment variables that are not as before."""
    names = sorted({*before, *os.environ})
    return [name for name in names if before.get(name) != os.environ.get(name)]


def _of_torch() -> tuple[Any, ...] | None:
    """What numbers depend on: torch's default type, gradient mode, determinism; None before it is there."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_dtype"):  # it is being imported
        return None
    return torch.get_default_dtype(), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled()


def _set_torch(before: tuple[Any, ...] | None) -> None:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_dtype"):
        return
    dtype, gradients, deterministic = before or (torch.float32, True, False)
    if torch.get_default_dtype() != dtype:
        torch.set_default_dtype(dtype)
    if torch.is_grad_enabled() != gradients:
        torch.set_grad_enabled(gradients)
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        torch.use_deterministic_algorithms(deterministic)


def described(error: BaseException) -> str:
    """The error's class and text, on one line; an error may fail to say what it is."""
    try:
        text = " ".join(str(error).split())
    except BaseException:
        text = "(its text cannot be had)"
    return shortened(f"{type(error).__name__}: {text}", 300)
