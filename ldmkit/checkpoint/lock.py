"""A lock for one training per folder, released by the system when its process dies."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ldmkit import disk
from ldmkit.checkpoint.store import RunStore
from ldmkit.errors import UserError

WAITED = 1.0
"""Seconds between looks at a lock that another process has."""


@contextmanager
def locked(store: RunStore, wait: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Within, this process alone trains in the store's folder.

    The lock is a file beside the folder, so that the folder can be cleared. UserError says which process has
    it and how far that one is; with `wait`, `say` is told so and the process waits.
    """
    path = store.folder.with_name(f"{store.folder.name}.lock")
    owner = path.with_suffix(".owner")
    lock = FileLock(path)
    with disk.explained(path, "locked"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            busy = f"{store.folder} is being trained by {_owner(owner)}, {_progress(store)}"
            if not wait:
                raise UserError(f"{busy}: wait for it, or let `--wait` do so") from None
            say(f"{busy}: waiting for it")
            lock.acquire(poll_interval=WAITED)
    try:
        disk.write_json(owner, _self())
        yield
    finally:
        disk.remove(owner)
        lock.release()


def _self() -> dict[str, str | int]:
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    return {"process": os.getpid(), "host": platform.node(), "since": since}


def _owner(path: Path) -> str:
    try:
        owner = json.loads(disk.read_text(path))
        return f"process {owner['process']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return "another process"


def _progress(store: RunStore) -> str:
    step = store.logged_step()
    return f"which is after step {step}" if step else "which is at its first steps"
