"""What of a stored picture and its captions an example shows: one choice for every data set of files."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from math import log
from typing import Annotated, Any, Literal

from jaxtyping import UInt8
from PIL import Image, ImageColor
from pydantic import Field
from torch import Tensor

from ldmkit.pictures.cutting import Cut, Size, drawn, middle, padded
from ldmkit.pictures.files import flatten, to_tensor

Crop = Literal["center", "random", "pad", "buckets"]
"""center: resized and cut around the middle. random: a square drawn anew at each step, the middle where
nothing is drawn. pad: whole, on the background. buckets: cut around the middle to the nearest of several
shapes of about the same area."""
Scale = tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]]
"""A range of shares of the shorter side."""
ASPECT = 2.0
"""The greatest ratio of a bucket's sides, up to their rounding."""


@dataclass(frozen=True)
class Views:
    """How data sets of files show their pictures and captions; `Crop` says what `crop` means.

    size: side of the examples, of buckets that of the square with their area. background: what transparent
    pictures lie on and padding shows. crop_scale: range of the factor of "random". bucket_step: sides of
    buckets are multiples of it. smallest: pictures whose shorter side has fewer pixels are left out.
    shuffle_tags: captions are lists of tags between commas, shown in a drawn order. drop_tags: the
    probability with which each tag is left out, all but one at most. Raises ValueError for an unknown colour,
    a range that is none, and for a size that is no multiple of the step.
    """

    size: int
    background: str = "white"
    crop: Crop = "center"
    crop_scale: tuple[float, float] = (0.5, 1.0)
    bucket_step: int = 64
    smallest: int = 0
    shuffle_tags: bool = False
    drop_tags: float = 0.0

    def __post_init__(self) -> None:
        try:
            ImageColor.getrgb(self.background)
        except ValueError:
            raise ValueError(f"unknown colour '{self.background}' as background") from None
        if self.crop_scale[0] > self.crop_scale[1]:
            raise ValueError(f"crop_scale {list(self.crop_scale)}: the first must not be above the second")
        if self.crop == "buckets" and self.size % self.bucket_step:
            raise ValueError(f"size {self.size} is no multiple of bucket_step {self.bucket_step}")

    @property
    def drawn(self) -> Sequence[str]:
        """Which of "image" and "text" differ from draw to draw."""
        text = self.shuffle_tags or self.drop_tags > 0
        return (*(("image",) if self.crop == "random" else ()), *(("text",) if text else ()))

    @property
    def settings(self) -> dict[str, Any]:
        """What differs from the defaults besides size and background: nothing else is part of digests."""
        own = asdict(self)
        default = {f.name: f.default for f in fields(self)}
        return {k: v for k, v in own.items() if k not in ("size", "background") and v != default[k]}

    @property
    def measured(self) -> bool:
        """Must the sizes of all pictures be known before any is shown?"""
        return self.crop == "buckets" or self.smallest > 0

    def shape(self, source: Size) -> Size:
        """Width and height of the example of a picture of that size."""
        if self.crop != "buckets":
            return self.size, self.size
        aspect = log(source[0] / source[1])
        return min(self.shapes, key=lambda shape: (abs(log(shape[0] / shape[1]) - aspect), shape))

    @property
    def shapes(self) -> Sequence[Size]:
        """Width and height of every bucket, the square first."""
        step, size = self.bucket_step, self.size
        longer = range(size, int(size * ASPECT**0.5) + step, step)
        pairs = [(side, max(step, round(size * size / side / step) * step)) for side in longer]
        pairs = [(a, b) for a, b in pairs if a / b < ASPECT * (1 + step / size)]
        return tuple(dict.fromkeys(shape for a, b in pairs for shape in ((a, b), (b, a))))

    def cut(self, source: Size, key: int | None = None) -> Cut:
        """What is shown of a picture of that size; `key` draws it where the crop is random."""
        if self.crop == "random" and key is not None:
            return drawn(source, (self.size, self.size), self.crop_scale, key)
        if self.crop == "pad":
            return padded(source, (self.size, self.size), self.background)
        return middle(source, self.shape(source))

    def picture(self, picture: Image.Image, key: int | None = None) -> tuple[Cut, UInt8[Tensor, "3 H W"]]:
        """The cut, and what it shows of an upright picture of any mode."""
        cut = self.cut(picture.size, key)
        return cut, to_tensor(cut.picture(flatten(picture, self.background)))

    def text(self, value: Any, key: int | None) -> Any:
        """A caption, or each of several, with its tags drawn by `key`; anything else as it is."""
        if key is None or "text" not in self.drawn:
            return value
        if isinstance(value, tuple):
            return tuple(self.text(each, key) for each in value)
        return self._tags(value, key) if isinstance(value, str) else value

    def _tags(self, text: str, key: int) -> str:
        draws = random.Random(f"tags {key}")
        tags = [tag for tag in (part.strip() for part in text.split(",")) if tag]
        kept = [tag for tag in tags if draws.random() >= self.drop_tags]
        kept = kept or ([draws.choice(tags)] if tags else [])
        if self.shuffle_tags:
            draws.shuffle(kept)
        return ", ".join(kept)

    def notes(self, small: int, shapes: Iterable[Size]) -> Sequence[str]:
        """What a person may want to know: how many pictures were too small, how many have which shape."""
        lines = []
        if self.smallest:
            lines.append(f"{small} pictures left out whose shorter side is below {self.smallest} pixels")
        if self.crop == "buckets":
            counts = Counter(shapes).most_common()
            lines.append("shapes: " + ", ".join(f"{w}x{h} ({count})" for (w, h), count in counts))
        return lines

    def too_small(self, source: Size) -> bool:
        """Has the picture fewer pixels than wanted on its shorter side?"""
        return min(source) < self.smallest
