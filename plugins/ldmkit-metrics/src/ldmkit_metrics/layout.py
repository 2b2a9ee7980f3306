"""Agreement of samples with their layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from jaxtyping import Float, UInt8
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from ldmkit.interfaces import FeatureNetwork, MetricInput
from ldmkit.types import Pixels
from ldmkit_metrics.examples import check_field, choose, preprocessing
from ldmkit_metrics.probes import Classifier, describe, fitting_examples, shuffled
from ldmkit_metrics.sheets import show_obedience

Box = tuple[int, float, float, float, float]
"""Class, then x, y, width and height in [0, 1]."""


class LayoutAccuracy:
    """The accuracy of a classifier on crops of samples, against the classes of their boxes.

    A classifier (logistic regression on the features of a frozen network) is fitted to the boxes of training
    pictures, each cut out and resized, and asked about the boxes of samples. Beside `sample` stand
    `shuffled`, the same samples cut by the layouts of other conditions, and `real`, the conditions' own
    pictures: the highest figure that can be expected. `by_class` has the same three with each class that a
    layout names counting alike: parts that most pictures have in the same place say little of obedience, rare
    ones much.

    Args:
        features: the frozen network; one that is in no loss and no guidance.
        field: the field with the layouts: objects (class, x, y, width, height), sides in [0, 1].
        split: where layouts are drawn from.
        pictures: how many are sampled.
        examples: how many boxes of training pictures the classifier is fitted to.
        smallest: boxes with a side of fewer pixels are left out.
        crop: the height and width that boxes are resized to.
        seed: draws the layouts; the picture of the i-th has the seed `seed` + i.
    """

    def __init__(
        self,
        *,
        features: FeatureNetwork,
        field: str = "layout",
        split: str = "validation",
        pictures: Annotated[int, Field(ge=2)] = 128,
        examples: Annotated[int, Field(ge=2)] = 3000,
        smallest: PositiveInt = 6,
        crop: Annotated[int, Field(ge=8)] = 64,
        seed: NonNegativeInt = 0,
    ) -> None:
        self.reads = (field,)
        self.features, self.field, self.split, self.pictures = features, field, split, pictures
        self.examples, self.smallest, self.crop, self.seed = examples, smallest, crop, seed

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """The shares of boxes whose class the classifier finds, in [0, 1], over all boxes and, as `by_class`,
        in the mean over classes; with the network that judged them and its preprocessing. Raises UserError
        for data without the field of the layouts."""
        judge, data = evaluation.network("features", self.features), evaluation.data(self.split)
        check_field(evaluation, data, self.field)
        chosen = choose(evaluation, self.split, self.pictures, self.seed)
        classifier = self._fitted(evaluation, chosen.index if self.split == "train" else ())
        layouts = [data[i][self.field] for i in chosen.index]
        others = [layouts[j] for j in shuffled(len(layouts))]
        samples = chosen.samples(evaluation)
        show_obedience(evaluation, f"layouts of {self.split}", chosen, samples)
        judged = {
            "sample": self._found(classifier, samples, layouts),
            "shuffled": self._found(classifier, samples, others),
            "real": self._found(classifier, chosen.pixels, layouts),
        }
        return {
            **{name: float(found.mean()) for name, (found, _) in judged.items()},
            "by_class": {name: mean_over_classes(*boxes) for name, boxes in judged.items()},
            "pictures": len(samples),
            "boxes": len(judged["sample"][1]),
            "judge": judge.name,
            "preprocessing": preprocessing(samples, judge.settings),
        }

    def _fitted(self, evaluation: MetricInput, without: Sequence[int]) -> Classifier:
        data = evaluation.data("train")
        index = fitting_examples(len(data), self.examples, self.seed, without)
        crops, labels = self._crops(evaluation.pixels("train")[index], [data[i][self.field] for i in index])
        if len(set(labels)) < 2:
            raise evaluation.error(
                f"'{self.field}' has fewer than two classes of boxes that are large enough"
            )
        return Classifier(describe(self.features, crops[: self.examples]), labels[: self.examples])

    def _found(
        self, classifier: Classifier, pixels: Pixels, layouts: Sequence[Sequence[Box]]
    ) -> tuple[Float[Tensor, " n"], list[str]]:
        """For each box that is large enough 1 where the classifier finds its class, else 0; the classes."""
        crops, labels = self._crops(pixels, layouts)
        return classifier.found(describe(self.features, crops), labels), labels

    def _crops(self, pixels: Pixels, layouts: Sequence[Sequence[Box]]) -> tuple[Pixels, list[str]]:
        """The boxes that are large enough, cut out and resized, and their classes."""
        crops, labels = [], []
        for picture, layout in zip(pixels, layouts, strict=True):
            for kind, *box in layout:
                cut = cut_out(picture, box)
                if min(cut.shape[1:]) >= self.smallest:
                    crops.append(_resized(cut, self.crop))
                    labels.append(str(int(kind)))
        empty = torch.zeros(0, 3, self.crop, self.crop, dtype=torch.uint8)
        return (torch.stack(crops) if crops else empty), labels


def mean_over_classes(found: Float[Tensor, " n"], labels: Sequence[str]) -> float:
    """The mean over classes of the share of a class's boxes in which it was found, in [0, 1]; NaN where there
    are no boxes."""
    classes = (torch.tensor([label == name for label in labels]) for name in sorted(set(labels)))
    return float(torch.tensor([float(found[of].mean()) for of in classes]).mean())


def cut_out(picture: UInt8[Tensor, "3 H W"], box: Sequence[float]) -> UInt8[Tensor, "3 h w"]:
    """The part of a picture within a box (x, y, width, height) with sides in [0, 1]."""
    height, width = picture.shape[1:]
    x, y, w, h = box
    left, top = round(x * width), round(y * height)
    return picture[:, top : round((y + h) * height), left : round((x + w) * width)]


def _resized(cut: UInt8[Tensor, "3 h w"], side: int) -> UInt8[Tensor, "3 s s"]:
    size = (side, side)
    resized = F.interpolate(cut[None].float(), size, mode="bilinear", antialias=True, align_corners=False)
    return resized[0].round().clamp(0, 255).to(torch.uint8)
