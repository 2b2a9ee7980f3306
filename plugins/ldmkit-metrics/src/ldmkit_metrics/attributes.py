"""Agreement of samples with their class or attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from ldmkit.interfaces import Dataset, FeatureNetwork, MetricInput
from ldmkit_metrics.examples import check_field, choose, preprocessing
from ldmkit_metrics.probes import Classifier, describe, fitting_examples, shuffled
from ldmkit_metrics.sheets import show_obedience

Labels = dict[str, list[str | None]]
"""A label for each picture, by the attribute's name; None where a picture has no such attribute."""


class AttributeAccuracy:
    """The accuracy of a classifier on samples, against the class or attributes of their condition.

    The field holds a class (a number or a name) or several attributes (a mapping of names to values); each
    gets its own classifier over the pictures that have it: logistic regression on the features of a frozen
    network, fitted to the data's own training pictures and never used in training. The condition itself may
    be another field, such as a caption. Beside `sample` stand `shuffled`, the same samples against the labels
    of other conditions, which is what a model that ignores its condition scores, and `real`, the
    classifier's accuracy on the conditions' own pictures, none of which it was fitted to: the highest figure
    that can be expected. With several attributes they are means over those, and each follows by its name.

    Args:
        features: the frozen network; one that is in no loss and no guidance.
        field: the field of the data that holds the class or the attributes.
        splits: where conditions are drawn from, each measured by itself.
        pictures: how many are sampled of each split.
        examples: how many training pictures the classifiers are fitted to.
        seed: draws the conditions; the picture of the i-th has the seed `seed` + i.
    """

    def __init__(
        self,
        *,
        features: FeatureNetwork,
        field: str = "attributes",
        splits: Annotated[tuple[str, ...], Field(min_length=1)] = ("validation",),
        pictures: Annotated[int, Field(ge=2)] = 256,
        examples: Annotated[int, Field(ge=2)] = 2000,
        seed: NonNegativeInt = 0,
    ) -> None:
        self.reads = (field,)
        self.features, self.field, self.splits = features, field, splits
        self.pictures, self.examples, self.seed = pictures, examples, seed

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """The accuracies in [0, 1] by split, with the field, the network and its preprocessing. Raises
        UserError for data without the field."""
        judge = evaluation.network("features", self.features)
        figures: dict[str, Any] = {split: self._measure(evaluation, split) for split in self.splits}
        shape = evaluation.pixels(self.splits[0])
        about = {"field": self.field, "judge": judge.name}
        return {**figures, **about, "preprocessing": preprocessing(shape, judge.settings)}

    def _measure(self, evaluation: MetricInput, split: str) -> dict[str, Any]:
        data = evaluation.data(split)
        check_field(evaluation, data, self.field)
        chosen = choose(evaluation, split, self.pictures, self.seed)
        classifiers = self._fitted(evaluation, chosen.index if split == "train" else ())
        labels = self._labels(data, chosen.index)
        others = {name: [values[j] for j in shuffled(len(values))] for name, values in labels.items()}
        pictures = chosen.samples(evaluation)
        show_obedience(evaluation, f"{self.field} of {split}", chosen, pictures)
        samples = describe(self.features, pictures)
        real = describe(self.features, chosen.pixels)
        by_name = {
            name: {
                "sample": _accuracy(c, samples, labels[name]),
                "shuffled": _accuracy(c, samples, others[name]),
                "real": _accuracy(c, real, labels[name]),
            }
            for name, c in classifiers.items()
            if any(labels.get(name, ()))
        }
        figures = {"pictures": len(samples), **_means(list(by_name.values()))}
        return figures if len(by_name) == 1 else {**figures, **by_name}

    def _fitted(self, evaluation: MetricInput, without: Sequence[int]) -> dict[str, Classifier]:
        """A classifier for each attribute that has several values in the training pictures."""
        data = evaluation.data("train")
        index = fitting_examples(len(data), self.examples, self.seed, without)
        features = describe(self.features, evaluation.pixels("train")[index])
        fitted = {}
        for name, values in self._labels(data, index).items():
            rows, known = _known(values)
            if len(set(known)) > 1:
                fitted[name] = Classifier(features[rows], known)
        return fitted

    def _labels(self, data: Dataset, index: Sequence[int]) -> Labels:
        values = [data[i][self.field] for i in index]
        if not isinstance(values[0], Mapping):
            return {self.field: [str(value) for value in values]}
        names = dict.fromkeys(name for value in values for name in value)
        return {n: [str(value[n]) if n in value else None for value in values] for n in names}


def _known(labels: Sequence[str | None]) -> tuple[list[int], list[str]]:
    """The pictures that have the attribute, and their labels."""
    known = [(i, label) for i, label in enumerate(labels) if label is not None]
    return [i for i, _ in known], [label for _, label in known]


def _accuracy(classifier: Classifier, features: Tensor, labels: Sequence[str | None]) -> float:
    rows, known = _known(labels)
    return classifier.accuracy(features[rows], known)


def _means(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure."""
    if not figures:
        return {}
    return {name: float(torch.tensor([f[name] for f in figures]).nanmean()) for name in figures[0]}
