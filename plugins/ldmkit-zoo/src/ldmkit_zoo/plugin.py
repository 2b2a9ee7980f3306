"""What this distribution registers; imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1
INDEX = Path(__file__).parent / "weights" / "index.json"
"""Stage and digest to file, checksum and summary; written by scripts/ship.py."""


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Each file under the name of the stage that it finishes, with its checksum."""
    for name, entry in json.loads(INDEX.read_text(encoding="utf-8")).items():
        target = f"ldmkit_zoo/weights/{entry['file']}#sha256={entry['sha256']}"
        registry.add("weights", name, target, entry["summary"])
