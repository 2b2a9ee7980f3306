"""Pictures.

Files and tensors (`files`, `storage`); raw inputs as tensors (`values`) and as batches (`batches`); the part
of a picture that is shown (`cutting`, `views`); the base of data sets of picture files (`data`, `examples`,
`broken`, `lacking`); colour profiles and primaries (`colours`, `primaries`); conditions drawn as pictures
(`painted`); PNG files that say how they were sampled (`png`) and from what (`inputs`); lists of pictures that
notebooks show (`listed`); contact sheets (`sheet`).
"""

from ldmkit.pictures.batches import batch, class_maps, fitted, masks
from ldmkit.pictures.cutting import Cut, middle
from ldmkit.pictures.data import PictureData
from ldmkit.pictures.files import (
    FORMATS,
    MAX_PIXELS,
    OTHER_SUFFIXES,
    SUFFIXES,
    PictureError,
    decode,
    decode_bytes,
    denormalize,
    flatten,
    normalize,
    open_picture,
    shown,
    to_pictures,
    to_tensor,
    upright_size,
)
from ldmkit.pictures.lacking import Lack
from ldmkit.pictures.listed import Pictures
from ldmkit.pictures.painted import colours, paint
from ldmkit.pictures.values import read
from ldmkit.pictures.views import Crop, Scale, Views

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "OTHER_SUFFIXES",
    "SUFFIXES",
    "Crop",
    "Cut",
    "Lack",
    "PictureData",
    "PictureError",
    "Pictures",
    "Scale",
    "Views",
    "batch",
    "class_maps",
    "colours",
    "decode",
    "decode_bytes",
    "denormalize",
    "fitted",
    "flatten",
    "masks",
    "middle",
    "normalize",
    "open_picture",
    "paint",
    "read",
    "shown",
    "to_pictures",
    "to_tensor",
    "upright_size",
]
