"""The pictures of a data set before a training: bytes, of sides that a latent can have, of one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset, example_name
from ldmkit.training.data import Example, Examples, images_of, pixels_of
from ldmkit.types import Image


def picture_of(data: Dataset, index: int, example: Mapping[str, Any], factor: int) -> Tensor:
    """The picture's bytes; UserError where there are none, or latents would have broken sides."""
    try:
        image = pixels_of(example)
    except UserError as error:
        raise UserError(f"{name_of(data, index)}: {error}") from error
    if any(side % factor for side in image.shape[-2:]):
        raise UserError(
            f"{name_of(data, index)}: a picture of {'x'.join(map(str, image.shape[-2:]))}: each side must be "
            f"a multiple of {factor}, by which the compression model makes it smaller"
        )
    return image


def named_images(
    of: Examples, indices: Sequence[int], examples: Sequence[Example], flip: Bool[Tensor, " b"] | None = None
) -> Image:
    """The pictures of some examples of one shape, as `images_of`; its error names the one that is another."""
    try:
        return images_of(examples, flip)
    except UserError:
        first = next(bucket[0] for bucket in of.buckets if indices[0] in bucket)
        check_sizes(of.dataset, first, indices, examples)
        raise


def check_sizes(
    data: Dataset, first: int, indices: Sequence[int], examples: Sequence[Mapping[str, Any]]
) -> None:
    """UserError where one of these pictures has another size than that of the example `first`: they could
    not be in one batch. Examples without their picture are passed over."""
    pictured = [(i, x) for i, x in zip(indices, examples, strict=True) if "image" in x]
    expected = size_of(data, first, data[first]) if pictured else ""
    for index, example in pictured:
        if (size := size_of(data, index, example)) != expected:
            other = example_name(data, first)
            raise UserError(
                f"{name_of(data, index)}: a picture of {size}, while {other} is {expected}: pictures of one "
                "batch have one size, to which the data set has to cut them, or it lists those of each shape "
                "in `buckets`"
            )


def size_of(data: Dataset, index: int, example: Mapping[str, Any]) -> str:
    """A picture's size in words; UserError for what is none."""
    return "x".join(map(str, picture_of(data, index, example, 1).shape[-2:]))


def name_of(data: Dataset, index: int) -> str:
    """The beginning of a message about an example."""
    return f"data: {example_name(data, index)}"
