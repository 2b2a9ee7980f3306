"""What a training leaves on disk: safetensors and JSON, whole or not at all."""

from __future__ import annotations

from ldmkit.checkpoint.store import RunStore, Snapshot

__all__ = ["RunStore", "Snapshot"]
