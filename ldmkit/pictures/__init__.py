"""Pictures: files and tensors (`files`), raw inputs as batches (`batches`), PNG files that say how they were
sampled (`png`), contact sheets (`sheet`)."""

from ldmkit.pictures.batches import batch, class_maps, fitted, masks, read
from ldmkit.pictures.files import (
    FORMATS,
    MAX_PIXELS,
    OTHER_SUFFIXES,
    SUFFIXES,
    PictureError,
    decode,
    flatten,
    normalize,
    open_picture,
    shown,
    to_pictures,
    to_tensor,
)

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "OTHER_SUFFIXES",
    "SUFFIXES",
    "PictureError",
    "batch",
    "class_maps",
    "decode",
    "fitted",
    "flatten",
    "masks",
    "normalize",
    "open_picture",
    "read",
    "shown",
    "to_pictures",
    "to_tensor",
]
