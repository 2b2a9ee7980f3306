"""What numbers depend on: torch's defaults and random generators, put back. Imports no torch by itself."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Restore = Callable[[], None]


@contextmanager
def defaults_kept() -> Iterator[None]:
    """Afterwards torch's defaults and the generators of Python, numpy and torch are as before; those of torch
    as it brings them, where it is imported within."""
    restore = [_python(), *_torch(), *_numpy()]
    imported = _loaded("torch") is None
    try:
        yield
    finally:
        for each in [*restore, *(_torch(fresh=True) if imported else ())]:
            each()


def _loaded(name: str) -> Any:
    """The module, where its import is complete."""
    module = sys.modules.get(name)
    done = {"torch": "get_default_dtype", "numpy.random": "get_state"}
    return module if hasattr(module, done[name]) else None


def _python() -> Restore:
    state = random.getstate()
    return lambda: random.setstate(state)


def _numpy() -> list[Restore]:
    numpy = _loaded("numpy.random")
    if numpy is None:
        return []
    state = numpy.get_state()
    return [lambda: numpy.set_state(state)]


def _torch(*, fresh: bool = False) -> list[Restore]:
    """How torch's defaults are set again: as they are now, or (fresh) as torch brings them."""
    torch = _loaded("torch")
    if torch is None:
        return []
    fixed = {
        torch.set_default_dtype: (torch.get_default_dtype, torch.float32),
        torch.set_grad_enabled: (torch.is_grad_enabled, True),
        torch.use_deterministic_algorithms: (torch.are_deterministic_algorithms_enabled, False),
        torch.set_float32_matmul_precision: (torch.get_float32_matmul_precision, "highest"),
        torch.set_default_device: (lambda: _default_device(torch), None),
    }
    set_again = [_again(setter, get, value if fresh else get()) for setter, (get, value) in fixed.items()]
    if fresh:  # the number of threads that it began with is not known any more
        return set_again
    threads, state = torch.get_num_threads(), torch.default_generator.get_state()
    return [
        *set_again,
        _again(torch.set_num_threads, torch.get_num_threads, threads),
        lambda: torch.default_generator.set_state(state),
    ]


def _again(setter: Callable[[Any], object], get: Callable[[], Any], value: Any) -> Restore:
    """Sets a value unless it is that already."""

    def restore() -> None:
        if get() != value:
            setter(value)

    return restore


def _default_device(torch: Any) -> Any:
    """What `torch.set_default_device` was given, a `with torch.device(...)` around it aside; else None."""
    held = getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
    return getattr(held, "device", None)
