"""Pictures: files and tensors (`files`), PNG files that say how to make them again (`png`), contact sheets
(`sheet`)."""

from ldmkit.pictures.files import (
    FORMATS,
    MAX_PIXELS,
    PictureError,
    normalize,
    open_picture,
    to_pictures,
    to_tensor,
)

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "PictureError",
    "normalize",
    "open_picture",
    "to_pictures",
    "to_tensor",
]
