"""Models on the Hugging Face hub: the folder of one at a commit, out of the cache or downloaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from ldmkit.checkpoint.files import MANIFEST
from ldmkit.errors import on_one_line

HUB_ANSWERS = 5
"""Seconds in which the hub answers, or is taken to be out of reach."""
HUB_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
"""What a published model consists of: configurations, a tokenizer, weights; nothing pickled."""


def hub_folder(hub: str, revision: str, patterns: Sequence[str] = HUB_FILES) -> Path:
    """The folder of a model on the Hugging Face hub at a commit, with its files of these `patterns`.

    It comes from the local cache where its weights, and what a package's manifest lists, are there, else it
    is downloaded. Raises ValueError where it cannot be.
    """
    try:
        return _hub_folder(hub, revision, patterns)
    except Exception as error:  # what the hub's library raises depends on its version
        reason = on_one_line(error, 200)
        raise ValueError(
            f"{hub} at {revision[:12]} is not on this machine and cannot be downloaded "
            f"({type(error).__name__}: {reason}); download it elsewhere and give its path instead of hub"
        ) from error


def _hub_folder(hub: str, revision: str, patterns: Sequence[str]) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    fetch = partial(snapshot_download, hub, revision=revision, allow_patterns=[*patterns])
    try:
        cached = Path(fetch(local_files_only=True))
        if any(cached.rglob("*.safetensors")) and not _lacking(cached, patterns):
            return cached
    except LocalEntryNotFoundError:
        pass
    # A download by itself tries for half a minute before it gives up: first one question of a few seconds.
    HfApi().model_info(hub, revision=revision, timeout=HUB_ANSWERS)
    return Path(fetch())


def _lacking(folder: Path, patterns: Sequence[str]) -> list[str]:
    """What a package's manifest lists and the patterns name, and is not in the folder."""
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no package
        return []
    named = [name for name in listed if any(fnmatch(name, pattern) for pattern in patterns)]
    return [name for name in named if not (folder / name).is_file()]
