"""`ldmkit doctor`: versions, plugins, devices, free memory and disk, and the speed of this machine."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from ldmkit.disk import cache_folder, size
from ldmkit.engine.limits import free_memory
from ldmkit.host.plugins import Host
from ldmkit.verbs.installing import installed_version

LIBRARIES = ("ldmkit", "torch", "torchvision", "accelerate", "transformers", "safetensors", "pydantic")
ROOM = 2 * 2**30
"""Bytes of disk below which the next training may not fit."""
SLOW = 0.5
"""Seconds of loading from which on a plugin is told: registering imports nothing heavy."""
SIDE = 1024
REPEATS = 5
Fact = tuple[str, str, str]
"""(what, what was found, what to do about it where something is amiss, else empty)."""


def facts(host: Host, runs: Path) -> Iterator[Fact]:
    """Yields the facts one after the other: libraries, plugins, devices, threads, memory, disk and speed."""
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}", ""
    for name in LIBRARIES:
        installed = installed_version(name)
        yield name, installed or "missing", "" if installed else f"pip install {name}"
    yield from _plugins(host)
    yield from _devices()
    yield "memory free", size(free_memory()), ""
    for name, folder in (("runs", runs), ("cache", cache_folder())):
        yield _disk(name, folder)
    yield "matrix products", f"{_rate():.0f} GFLOP/s in float32 on the CPU", ""


def _plugins(host: Host) -> Iterator[Fact]:
    brought = {entry.distribution: entry.version for entry in host.registry}
    yield "plugins", ", ".join(f"{name} {number}" for name, number in sorted(brought.items())), ""
    for one in host.broken:
        yield f"plugin {one.distribution} {one.version}", "cannot be used", one.error
    for name, seconds in host.seconds.items():
        if seconds > SLOW:
            yield f"plugin {name}", f"takes {seconds:.1f} s to load", "tell its author: it imports too much"


def _devices() -> Iterator[Fact]:
    threads = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    few = "" if threads >= cores else "unset OMP_NUM_THREADS for trainings and samples on the CPU"
    yield "cpu", f"{threads} threads of torch on {cores} cores", few
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        yield "accelerator", "none", ""
        return
    for i in range(torch.accelerator.device_count()):
        yield f"accelerator {i}", f"{accelerator.type}:{i}", ""


def _disk(name: str, folder: Path) -> Fact:
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        return (
            f"{name} folder",
            f"{folder} cannot be written",
            "choose another one, or change its permissions",
        )
    little = "" if free > ROOM else "free some room: `ldmkit runs clean` says what it would free"
    return f"{name} folder", f"{folder}, {size(free)} free", little


def _rate() -> float:
    """Floating-point operations a nanosecond in a product of two square matrices."""
    one = torch.rand(SIDE, SIDE)
    torch.mm(one, one)
    started = time.perf_counter()
    for _ in range(REPEATS):
        torch.mm(one, one)
    return REPEATS * 2 * SIDE**3 / (time.perf_counter() - started) / 1e9
