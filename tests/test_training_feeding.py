"""What training is fed: order, captions, caches, draws; on toy components."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from training_toy import Pictures, toy, train

from ldmkit.errors import UserError
from ldmkit.training.data import Examples, mirrored, raw_of
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.draws import Order
from ldmkit.training.dropout import drop_groups
from ldmkit.training.look import look_at_data
from ldmkit.types import Condition, ConditionSpec

SHORT = ["train.compression.steps=4", "train.diffusion.steps=4", "train.compression.adversary.start=1"]


def test_an_epoch_sees_every_example_once_and_epochs_differ():
    order = Order(7, 0, "compression")
    row = order.take(0, 21).tolist()
    assert all(sorted(row[i : i + 7]) == list(range(7)) for i in (0, 7, 14))
    assert row[:7] != row[7:14]
    assert order.take(5, 12).tolist() == row[5:12]
    assert Order(7, 1, "compression").take(0, 7).tolist() != row[:7]


def test_conditions_that_share_a_field_drop_together():
    groups = drop_groups({"a": ("x",), "b": ("y",), "c": ("z",), "d": ("x", "y")})
    assert groups["a"] == groups["b"] == groups["d"] != groups["c"]


def test_frozen_conditioners_encode_each_input_once(tmp_path):
    system = toy(*SHORT)
    stage = DiffusionStage(system, system.recipe.train.diffusion, Pictures(), tmp_path)
    counted = system.conditioners["frozen"].encoded
    assert counted == 2 * 23  # two captions for each picture of both splits
    for step in range(3):
        stage.batch(step, slice(0, 4))
    again = toy(*SHORT)
    DiffusionStage(again, again.recipe.train.diffusion, Pictures(), tmp_path)  # reads them from the disk
    assert system.conditioners["frozen"].encoded == counted
    assert again.conditioners["frozen"].encoded == 0


def test_a_value_that_was_not_encoded_is_refused_and_not_taken_for_another(tmp_path, monkeypatch):
    system = toy(*SHORT)
    stage = DiffusionStage(system, system.recipe.train.diffusion, Pictures(), tmp_path)
    own = Pictures.__getitem__
    monkeypatch.setattr(Pictures, "__getitem__", lambda self, i: {**own(self, i), "captions": ("unseen",)})
    stage._train.examples._kept.clear()
    with pytest.raises(UserError, match="caption: a value that was not there when all were encoded"):
        stage.batch(0, slice(0, 4))


def test_cached_states_are_what_encoding_gives_and_nulls_where_dropped(tmp_path):
    system = toy("conditioners.frozen.dropout=0.5")
    stage = DiffusionStage(system, system.recipe.train.diffusion, Pictures(), tmp_path)
    frozen = system.conditioners["frozen"]
    nulls = 0
    for step in range(4):
        batch, draws = stage.batch(step, slice(0, 4))
        given = batch["conditions"]
        condition, ids = given.encoded["frozen"], given.prepared["text"]["ids"]
        live = frozen.eval().encode({"ids": ids})
        for i in range(4):
            if draws.drop[i, 0] < 0.5:
                nulls += 1
                assert condition.mask[i].tolist() == [True] + [False] * (condition.mask.shape[1] - 1)
            else:
                length = condition.mask.shape[1]
                assert torch.equal(condition.tokens[i], live.tokens[i, :length])
                assert torch.equal(condition.mask[i], live.mask[i, :length])
    assert 0 < nulls < 16


def test_every_caption_of_an_example_is_trained_on(tmp_path):
    system = toy()
    stage = DiffusionStage(system, system.recipe.train.diffusion, Pictures(), tmp_path)
    first = set()
    for step in range(12):
        ids = stage.batch(step, slice(0, 4))[0]["conditions"].prepared["text"]["ids"]
        first |= {"".join(map(chr, row.tolist())).strip() for row in ids}
    assert any(text.startswith("the ") for text in first)
    assert any(text.startswith("thing ") for text in first)


def test_rows_of_a_batch_do_not_depend_on_how_it_is_shared(tmp_path):
    system = toy()
    stage = DiffusionStage(system, system.recipe.train.diffusion, Pictures(), tmp_path)
    whole, draws = stage.batch(5, slice(0, 4))
    part, some = stage.batch(5, slice(2, 4))
    assert torch.equal(whole["clean"][2:], part["clean"])
    assert torch.equal(draws.noise[2:], some.noise)
    assert torch.equal(draws.t[2:], some.t)


def test_what_does_not_fit_in_memory_is_read_again_ahead_of_time():
    pictures = Pictures()
    examples = Examples(pictures, memory=3 * 16 * 16 * 3 + 3)  # three pictures
    pictures.read.clear()
    first = examples.read([0, 1, 1, 2, 3], then=([4, 5], None))
    assert [int(e["label"]) for e in first] == [0, 1, 1, 2, 0]
    assert examples.read([4, 5, 0], then=([3], None))[0]["caption"] == "thing 4"
    assert examples.read([3])[0]["caption"] == "thing 3"
    assert sorted(pictures.read) == [0, 1, 2, 3, 3, 4, 5]


def test_only_the_fields_that_conditions_read_are_kept():
    assert Examples(Pictures(), ["caption"])[0].keys() == {"caption", "captions"}


def test_pictures_among_condition_inputs_are_scaled_and_masks_are_not():
    examples = [
        {"low_res": torch.full((3, 2, 2), 255, dtype=torch.uint8), "mask": torch.ones(1, 2, 2).byte()}
    ]
    raw = raw_of(examples, ["low_res", "mask"])
    assert raw["low_res"].unique().tolist() == [1.0]
    assert raw["mask"].unique().tolist() == [1]


def test_mirroring_takes_maps_along():
    examples = [{"segmentation": torch.tensor([[1, 2]]), "ids": torch.tensor([1, 2])}]
    raw = raw_of(examples, ["segmentation", "ids"], torch.tensor([0]), torch.tensor([True]))
    assert raw["segmentation"].tolist() == [[[2, 1]]]
    assert raw["ids"].tolist() == [[1, 2]]


def test_a_field_that_the_data_lacks_is_named(tmp_path):
    with pytest.raises(UserError, match="'text' reads tags"):
        train(tmp_path, *SHORT, "conditioners.text.field=tags")


def test_what_lies_on_the_picture_is_mirrored_in_every_form(tmp_path):
    left = np.zeros((4, 6), np.uint8)
    left[:, :3] = 255
    PIL.Image.fromarray(left).save(tmp_path / "a.png")
    flip, choice = torch.tensor([True, False]), torch.tensor([0, 0])
    for form in (str(tmp_path / "a.png"), PIL.Image.fromarray(left), left, torch.from_numpy(left)):
        for kind in ("map", "mask"):
            raw = raw_of([{"x": form}] * 2, ["x"], choice, flip, {"x": kind})
            assert torch.equal(raw["x"], torch.from_numpy(np.stack([left[:, ::-1], left])))
    raw = raw_of([{"x": str(tmp_path / "a.png")}] * 2, ["x"], choice, flip, {"x": "picture"})
    assert raw["x"][0, 0, 0].tolist() == [-1, -1, -1, 1, 1, 1]
    boxes = [[5, 0.1, 0.2, 0.3, 0.4], [6, 0.0, 0.0, 1.0, 1.0]]
    raw = raw_of([{"x": boxes}] * 2, ["x"], choice, flip, {"x": "boxes"})
    assert [pytest.approx(row) for row in raw["x"][0]] == [(5, 0.6, 0.2, 0.3, 0.4), (6, 0, 0, 1, 1)]
    assert raw["x"][1] == boxes
    raw = raw_of([{"x": "a red fox"}] * 2, ["x"], choice, flip, {"x": "text"})
    assert raw["x"] == ["a red fox"] * 2


@pytest.mark.parametrize(("height", "width", "left"), [(512, 768, 40), (300, 300, 0), (700, 301, 0)])
def test_the_left_of_a_cut_is_counted_from_the_other_side(height, width, left):
    scale = 256 / min(height, width)
    resized = np.random.default_rng(0).random((round(height * scale), round(width * scale)))
    sizes = (height, width, 0, left, 256, 256)
    turned = mirrored(sizes, "sizes")
    assert (*turned[:3], *turned[4:]) == (*sizes[:3], *sizes[4:])
    shown = resized[:256, left : left + 256]
    assert np.array_equal(resized[:, ::-1][:256, turned[3] : turned[3] + 256], shown[:, ::-1])
    of_tensor = mirrored(torch.tensor(sizes), "sizes")
    assert (of_tensor.dtype, tuple(of_tensor.tolist())) == (torch.int64, turned)


def test_sizes_that_do_not_say_where_the_other_side_is_are_refused_with_flips():
    with pytest.raises(
        ValueError, match=r"left 300 of sizes \[512, 768, 0, 300, 256, 256\].* set flip: false"
    ):
        mirrored((512, 768, 0, 300, 256, 256), "sizes")
    for wrong in (None, 7, "wide", (1, 2), (0, 0, 0, 0, 0, 0)):
        assert mirrored(wrong, "sizes") == wrong  # the conditioner says what it expects


class Reader(torch.nn.Module):
    """A conditioner that takes anything and puts out channels of one size."""

    def __init__(self, kinds, size=4):
        super().__init__()
        self.spec = ConditionSpec(fields=("extra",), concat=1, kinds=kinds)
        self._size = size

    def prepare(self, raw):
        if not all(isinstance(x, str | PIL.Image.Image | torch.Tensor) for x in raw["extra"]):
            raise ValueError("extra: expects pictures")
        return {"extra": torch.zeros(len(raw["extra"]), 1)}

    def encode(self, prepared, generator=None):
        return Condition(concat=torch.zeros(len(prepared["extra"]), 1, self._size, self._size))

    def null(self, like):
        return like.map(torch.zeros_like)


class Extra(Pictures):
    """Seven toy pictures with one more field, of which the last one has another value."""

    def __init__(self, value, odd=None):
        super().__init__(count=7)
        self.value, self.odd = value, odd

    def __getitem__(self, index):
        odd = self.odd is not None and index == 6
        return {**super().__getitem__(index), "extra": self.odd if odd else self.value}

    def split(self, name):
        return self


@pytest.mark.parametrize(
    ("kinds", "size", "data", "said"),
    [
        ({}, 4, Extra("a.png"), r"example 0: condition 'text': extra: train\.diffusion\.flip"),
        ({}, 4, Extra(PIL.Image.new("L", (16, 16))), r"extra: train\.diffusion\.flip .* set flip: false"),
        ({}, 4, Extra(torch.zeros(77, 512)), r"extra: train\.diffusion\.flip"),
        ({"extra": "boxes"}, 4, Extra(torch.zeros(92, dtype=torch.long)), "ids of boxes cannot be mirrored"),
        ({"extra": "text"}, 4, Extra("fine", odd=7), "example 6: condition 'text': extra: expects pictures"),
        ({"extra": "map"}, 8, Extra(torch.zeros(16, 16)), "gives 8x8 positions, .* has 4x4"),
        ({}, 4, Pictures(), r"reads extra, which the data does not have; it has .*conditioners\.text\.field"),
    ],
)
def test_a_look_at_the_data_refuses_what_would_end_a_training(kinds, size, data, said):
    system = toy("conditioners={text: toy}")
    system.conditioners["text"] = Reader(kinds, size)
    with pytest.raises(UserError, match=said):
        look_at_data(system, data)


def test_a_look_at_the_data_accepts_what_can_be_mirrored():
    system = toy("conditioners={text: toy}")
    for kinds, value in [({}, torch.zeros(16, 16)), ({"extra": "text"}, "a.png"), ({}, torch.zeros(5))]:
        system.conditioners["text"] = Reader(kinds)
        look_at_data(system, Extra(value))
    system = toy("conditioners={text: toy}", "train.diffusion.flip=false")
    system.conditioners["text"] = Reader({})
    look_at_data(system, Extra("a.png"))
