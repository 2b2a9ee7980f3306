"""Contracts of data sets and feature networks, for your tests."""

from __future__ import annotations

import torch
from torch import nn

from ldmkit.interfaces import Dataset, FeatureNetwork


def check_data(data: Dataset) -> None:
    """Checks the splits "train" and "validation": their examples are uint8 pictures "3 H W" of one size with
    the announced fields, the same at every look.

    Raises AssertionError naming the promise of `Dataset` that is broken.
    """
    for name in ("train", "validation"):
        part = data.split(name)
        assert len(part) > 0, f"split '{name}': it holds no examples"
        first, again, last = part[0], part[0], part[len(part) - 1]
        image = first["image"]
        assert image.dtype == torch.uint8, f"image: uint8, not {image.dtype}"
        assert image.ndim == 3, f'image: "3 H W", not {tuple(image.shape)}'
        assert image.shape[0] == 3, f'image: "3 H W", not {tuple(image.shape)}'
        assert last["image"].shape == image.shape, "image: all of one size"
        assert torch.equal(image, again["image"]), "image: the same at every look"
        assert set(first) == {"image", *part.fields}, f"fields: {sorted(first)}, and fields say {part.fields}"
        assert part.digest == data.split(name).digest, "digest: the same for the same content"
    assert data.split("train").digest != data.split("validation").digest, "digest: of other pictures, another"
    message = None
    try:
        data.split("no-such-split")
    except ValueError as error:
        message = str(error)
    assert message is not None, "split: ValueError for a split that is not there"
    assert "train" in message, "split: the error names those there are"


def check_features(network: FeatureNetwork, size: int = 64) -> None:
    """Checks that a feature network is frozen, gives maps "b k i j" and one vector for each picture,
    independent of the batch, and is differentiable in the picture.

    size: height and width of the pictures in pixels. Raises AssertionError naming the promise of
    `FeatureNetwork` that is broken.
    """
    assert isinstance(network, nn.Module), "a feature network is an nn.Module"
    assert not any(p.requires_grad for p in network.parameters()), "its weights are frozen"
    assert not network.train().training, "it stays in eval"
    image = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    leaf = image.clone().requires_grad_()
    maps = network(leaf)
    assert len(maps) > 0, "it gives feature maps"
    assert all(x.ndim == 4 and len(x) == 3 for x in maps), 'feature maps are "b k i j"'
    (gradient,) = torch.autograd.grad(sum((x.square().mean() for x in maps), torch.zeros(())), leaf)
    assert gradient.isfinite().all(), "the gradient is finite"
    assert gradient.abs().sum() > 0, "a gradient reaches the picture"
    with torch.no_grad():
        vectors, alone = network.embed(image), network.embed(image[:1])
    assert vectors.ndim == 2, 'embed: "b e"'
    assert len(vectors) == 3, "embed: one vector a picture"
    assert torch.allclose(vectors[:1], alone, atol=1e-4), "embed: a picture does not depend on its batch"
