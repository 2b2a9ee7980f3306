"""Batches of nearly equal size, and a pipeline of two steps over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def even_parts(count: int, most: int) -> list[range]:
    """Splits `count` items into the fewest batches of at most `most`. Their lengths differ by at most one, so
    that no short batch at the end leaves processors idle."""
    parts = -(-count // most)
    ends = [count * (i + 1) // parts for i in range(parts)]
    return [range(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def overlapped(items: Iterable[A], finish: Callable[[A], B]) -> Iterator[B]:
    """finish(item) for each item, in order, in another thread while the next item is computed.

    At most one item waits for `finish`, so that two are in memory. What `finish` raises is raised here.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="decoder") as thread:
        coming: Future[B] | None = None
        for each in items:
            if coming is not None:
                yield coming.result()
            coming = thread.submit(finish, each)
        if coming is not None:
            yield coming.result()
