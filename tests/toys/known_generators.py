"""Random pictures with captions, and generators of them whose score is known beforehand."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from ldmkit_metrics.accuracy import CaptionAccuracy
from torch.nn import functional as F

from ldmkit.evaluation import Evaluation
from ldmkit.pictures import to_pictures
from ldmkit.recipe import Component

CONCEPTS = 20
HELD_OUT = 6


class Patterns:
    """Random pictures: 20 concepts in two styles that resemble each other; six held-out (concept, style)
    pairs."""

    fields = ("caption", "concept", "style")

    def __init__(self, language: str = "en") -> None:
        draws = torch.Generator().manual_seed(0)
        base = torch.randint(60, 200, (CONCEPTS, 3, 16, 16), generator=draws)
        shift = torch.randint(-50, 50, (2, CONCEPTS, 3, 16, 16), generator=draws)
        self.rows = [
            {
                "image": (base[c] + shift[s, c]).to(torch.uint8),
                "caption": f"{language} {style} {c}",
                "concept": f"c{c}",
                "style": style,
                "split": "pairs" if style == "b" and c < HELD_OUT else "train",
            }
            for s, style in enumerate("ab")
            for c in range(CONCEPTS)
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]

    def split(self, name):
        if name not in ("train", "pairs"):
            raise ValueError(f"no split '{name}'")
        part = Patterns.__new__(type(self))
        part.rows = [row for row in self.rows if row["split"] == name]
        return part


class Pooled:
    """A feature network: the picture in 4 x 4 patches' means."""

    def __call__(self, image):
        return [image]

    def embed(self, image):
        return F.adaptive_avg_pool2d(image, 4).flatten(1)


class Halved:
    """A compression model that keeps half the resolution."""

    def encode(self, image):
        return F.avg_pool2d(image, 2)

    def decode(self, latent):
        return latent.repeat_interleave(2, 2).repeat_interleave(2, 3)


class Exact(Halved):
    def encode(self, image):
        return image

    def decode(self, latent):
        return latent


class Drawn(Evaluation):
    """An evaluation whose generator is a function from a caption to bytes; blind pictures are noise."""

    condition_fields = ("caption",)

    def draw(self, fields, seeds):
        pixels = torch.stack([self.system.generator(caption) for caption in fields["caption"]])
        yield to_pictures(pixels.float() / 127.5 - 1)

    def draw_unconditional(self, fields, seeds):
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        yield to_pictures(torch.stack([torch.rand(3, 16, 16, generator=g) * 2 - 1 for g in draws]))


def evaluation(generator=None, compression=None, data=None, **parameters) -> Drawn:
    system = SimpleNamespace(
        generator=generator,
        compression=compression,
        device="cpu",
        recipe=SimpleNamespace(sample=SimpleNamespace(batch=7)),
    )
    component = Component(
        name="metric", parameters={"features": {"name": "pooled", "resize": None}, **parameters}
    )
    held = {("data", "{}"): data or Patterns(), ("data", '{"language": "ko"}'): Patterns("ko")}
    return Drawn(system, component, held=held)


def picture_of(style: str, concept: int):
    return next(r["image"] for r in Patterns().rows if (r["style"], r["concept"]) == (style, f"c{concept}"))


def faithful(caption: str):
    _, style, concept = caption.split()
    return picture_of(style, int(concept))


def off_by_one(caption: str):
    _, style, concept = caption.split()
    return picture_of(style, (int(concept) + 1) % CONCEPTS)


def copying(caption: str):
    _, style, concept = caption.split()
    return picture_of("ab".replace(style, ""), int(concept))


def accuracy(generator, **settings):
    metric = CaptionAccuracy(features=Pooled(), splits=("train", "pairs"), **settings)
    return metric(evaluation(generator))
