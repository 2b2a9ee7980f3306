"""Pictures: files and tensors (`files`), raw inputs as batches (`batches`), PNG files that say how they were
sampled (`png`), contact sheets (`sheet`)."""

from ldmkit.pictures.batches import batch, fitted, masks
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
    "batch",
    "fitted",
    "masks",
    "normalize",
    "open_picture",
    "to_pictures",
    "to_tensor",
]
