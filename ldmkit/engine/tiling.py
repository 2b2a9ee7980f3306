"""Large pictures: encode and decode in overlapping tiles, blended, in the memory of one tile."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ldmkit.interfaces import CompressionModel
from ldmkit.types import Image, Latent

Span = tuple[int, int]
"""Start and length of a tile along one side."""


def tiled_encode(model: CompressionModel, image: Image, *, tile: int = 512, overlap: int = 128) -> Latent:
    """`model.encode` in tiles. Norms and attention see a tile at a time, so the result differs a little from
    the untiled one; a picture of one tile is encoded as ever.

    Args:
        tile: longest side of a tile, in pixels
        overlap: least number of pixels that neighbours share

    Raises ValueError where picture, tile or overlap are no multiples of the model's factor, or where the
    overlap is more than half of a tile.
    """
    factor = model.latent.factor
    if image.shape[-2] % factor or image.shape[-1] % factor:
        raise ValueError(
            f"a picture of {image.shape[-2]} x {image.shape[-1]} is no multiple of factor {factor}"
        )
    whole = (image.shape[-2] // factor, image.shape[-1] // factor)
    spans = [spans_of(side, *in_cells(factor, tile, overlap)) for side in whole]

    def encode(y: Span, x: Span) -> Tensor:
        return model.encode(image[..., pixels(y, factor), pixels(x, factor)])

    return blend(encode, spans[0], spans[1], 1)


def tiled_decode(model: CompressionModel, latent: Latent, *, tile: int = 512, overlap: int = 128) -> Image:
    """`model.decode` in tiles; sizes are the picture's, as in `tiled_encode`."""
    factor = model.latent.factor
    spans = [spans_of(side, *in_cells(factor, tile, overlap)) for side in latent.shape[-2:]]

    def decode(y: Span, x: Span) -> Tensor:
        return model.decode(latent[..., pixels(y, 1), pixels(x, 1)])

    return blend(decode, spans[0], spans[1], factor)


def in_cells(factor: int, tile: int, overlap: int) -> tuple[int, int]:
    """Tile and overlap in positions of the latent; ValueError where they are no whole number of them."""
    if tile % factor or overlap % factor:
        raise ValueError(f"tile {tile} and overlap {overlap} must be multiples of the factor, {factor}")
    if not 0 <= 2 * overlap <= tile or tile == 0:
        raise ValueError(f"overlap {overlap} must be at most half of tile {tile}")
    return tile // factor, overlap // factor


def spans_of(side: int, tile: int, overlap: int) -> list[Span]:
    """As few tiles as cover a side, evenly spread; all have the full length, since a norm that sees more of
    the picture is nearer to the one that sees it whole."""
    if side <= tile:
        return [(0, side)]
    count = -(-(side - overlap) // (tile - overlap))
    return [(round(i * (side - tile) / (count - 1)), tile) for i in range(count)]


def pixels(span: Span, factor: int) -> slice:
    """The part of a side that a span of cells covers, `factor` pixels each."""
    return slice(span[0] * factor, (span[0] + span[1]) * factor)


def ramps(spans: list[Span], factor: int) -> list[Float[Tensor, " n"]]:
    """Each tile's weight along one side: neighbours cross-fade linearly, the weights of a place sum to 1."""
    side = (spans[-1][0] + spans[-1][1]) * factor
    total, weights = torch.zeros(side), []
    for i, (_, length) in enumerate(spans):
        n = length * factor
        place = torch.arange(n) + 0.5
        rising = place if i else torch.full((n,), float(side))
        falling = n - place if i < len(spans) - 1 else torch.full((n,), float(side))
        weights.append(torch.minimum(rising, falling))
        total[pixels(spans[i], factor)] += weights[-1]
    return [w / total[pixels(span, factor)] for w, span in zip(weights, spans, strict=True)]


def blend(
    compute: Callable[[Span, Span], Tensor], rows: list[Span], columns: list[Span], factor: int
) -> Float[Tensor, "b k H W"]:
    """The weighted sum of all tiles."""
    if len(rows) == len(columns) == 1:
        return compute(rows[0], columns[0])
    out: Tensor | None = None
    for y, down in zip(rows, ramps(rows, factor), strict=True):
        for x, across in zip(columns, ramps(columns, factor), strict=True):
            part = compute(y, x)
            if out is None:
                size = [(spans[-1][0] + spans[-1][1]) * factor for spans in (rows, columns)]
                out = part.new_zeros(*part.shape[:2], *size)
            out[..., pixels(y, factor), pixels(x, factor)] += part * torch.outer(down, across).to(part)
    assert out is not None
    return out
