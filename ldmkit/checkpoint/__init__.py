"""Checkpoints and finished weights on disk: safetensors and JSON, written atomically."""

from __future__ import annotations

from ldmkit.checkpoint.store import RunStore, Snapshot

__all__ = ["RunStore", "Snapshot"]
