"""Weights and configurations in the published formats, both ways. Key names belong to the architectures' key
maps; this package knows how a whole model is laid out."""

from __future__ import annotations

from ldmkit.interchange.exporting import FORMATS, export_model
from ldmkit.interchange.importing import import_model

__all__ = ["FORMATS", "export_model", "import_model"]
