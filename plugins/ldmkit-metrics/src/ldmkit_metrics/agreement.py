"""Agreement of samples with the semantic maps that they were drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from ldmkit.artifacts import write_tensors
from ldmkit.interfaces import Dataset, FeatureNetwork, MetricInput
from ldmkit.pictures import class_maps
from ldmkit_metrics.examples import check_field, choose, preprocessing
from ldmkit_metrics.probes import fitting_examples, shuffled
from ldmkit_metrics.segmenter import Maps, Segmenter, cached, train
from ldmkit_metrics.sheets import show_obedience


class MapAgreement:
    """Agreement of a segmenter's prediction on samples with their semantic maps.

    `agreement` is the share of pixels of the right class, `mean_iou` the mean over classes of intersection
    over union. The segmenter, a small head on a frozen network, is trained on training pictures and their
    maps when it is first needed, and kept in the evaluation's folder; no model is trained with it. Beside
    `sample` stand `shuffled`, the same samples against other maps, and `real`, the maps' own pictures, none
    of which the segmenter was trained on.

    Args:
        features: the frozen network; one that is in no loss and no guidance.
        field: the field with the maps of class ids.
        classes: how many classes there are.
        splits: where maps are drawn from, each measured by itself.
        pictures: how many are sampled of each split.
        examples: how many training pictures the segmenter learns from.
        steps: how long it learns, in batches of 8.
        seed: draws the maps; the picture of the i-th has the seed `seed` + i.
    """

    def __init__(
        self,
        *,
        features: FeatureNetwork,
        field: str = "segmentation",
        classes: Annotated[int, Field(ge=2)],
        splits: Annotated[tuple[str, ...], Field(min_length=1)] = ("validation",),
        pictures: Annotated[int, Field(ge=2)] = 64,
        examples: Annotated[int, Field(ge=2)] = 1000,
        steps: PositiveInt = 400,
        seed: NonNegativeInt = 0,
    ) -> None:
        self.reads = (field,)
        self.features, self.field, self.classes, self.splits = features, field, classes, splits
        self.pictures, self.examples, self.steps, self.seed = pictures, examples, steps, seed

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """`agreement` and `mean_iou` of samples, shuffled maps and real pictures, by split, with the network
        that judged them and its preprocessing. Raises UserError for data without the field of the maps."""
        judge = evaluation.network("features", self.features)
        figures: dict[str, Any] = {split: self._measure(evaluation, split) for split in self.splits}
        shape = evaluation.pixels(self.splits[0])
        return {**figures, "judge": judge.name, "preprocessing": preprocessing(shape, judge.settings)}

    def _measure(self, evaluation: MetricInput, split: str) -> dict[str, Any]:
        data = evaluation.data(split)
        check_field(evaluation, data, self.field)
        chosen = choose(evaluation, split, self.pictures, self.seed)
        segmenter = self._trained(evaluation, chosen.index if split == "train" else ())
        maps = self._maps(data, chosen.index)
        samples = chosen.samples(evaluation)
        predicted = segmenter.predict(samples)
        show_obedience(evaluation, f"maps of {split}", chosen, samples)
        return {
            "pictures": len(samples),
            "sample": compared(predicted, maps, self.classes),
            "shuffled": compared(predicted, maps[shuffled(len(maps))], self.classes),
            "real": compared(segmenter.predict(chosen.pixels), maps, self.classes),
        }

    def _trained(self, evaluation: MetricInput, without: Sequence[int]) -> Segmenter:
        data = evaluation.data("train")
        index = fitting_examples(len(data), self.examples, self.seed, without)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            segmenter = Segmenter(self.features, self.classes)
        about = dict(evaluation.component.parameters)
        path = cached(segmenter, evaluation.cache, data.digest, sorted(about.items(), key=str), index)
        if path is None or not path.is_file():
            train(
                segmenter,
                evaluation.pixels("train")[index],
                self._maps(data, index),
                self.steps,
                self.seed,
            )
            if path is not None:
                write_tensors(path, segmenter.state_dict())
        return segmenter

    def _maps(self, data: Dataset, index: Sequence[int]) -> Maps:
        return class_maps({self.field: [data[i][self.field] for i in index]}, self.field, self.classes)


def compared(predicted: Maps, maps: Maps, classes: int) -> dict[str, float]:
    """The share of pixels whose classes are equal, and the mean intersection over union of the classes that
    occur in either; both in [0, 1]."""
    confusion = torch.bincount((maps * classes + predicted).flatten(), minlength=classes**2)
    confusion = confusion.reshape(classes, classes).double()
    both = confusion.diagonal()
    either = confusion.sum(0) + confusion.sum(1) - both
    there = either > 0
    return {
        "agreement": float(both.sum() / confusion.sum()),
        "mean_iou": float((both[there] / either[there]).mean()),
    }
