"""Weights and configurations in published formats, both ways.

Formats are components of kind `format`; key names belong to the architectures' key maps. This package joins
them: it knows what a published model comes down to, and the name of no format.
"""

from __future__ import annotations

from ldmkit.interchange.exporting import check_export, export_model
from ldmkit.interchange.importing import import_model
from ldmkit.interchange.model import Format, ImportOptions, Published

__all__ = ["Format", "ImportOptions", "Published", "check_export", "export_model", "import_model"]
