"""Batches of about equal size, and two pieces of work on them side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def even_parts(count: int, most: int) -> list[range]:
    """`count` places cut into as few rows of at most `most` as there can be, whose lengths differ by one at
    most: no short batch is left over to the end, on which processors would idle."""
    parts = -(-count // most)
    ends = [count * (i + 1) // parts for i in range(parts)]
    return [range(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def overlapped(made: Iterable[A], finish: Callable[[A], B]) -> Iterator[B]:
    """finish(each), in order, each in a thread of its own while the next is being made.

    One is finished at a time, so that at most two are in memory. What `finish` raises is raised here.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="decoder") as thread:
        coming: Future[B] | None = None
        for each in made:
            if coming is not None:
                yield coming.result()
            coming = thread.submit(finish, each)
        if coming is not None:
            yield coming.result()
