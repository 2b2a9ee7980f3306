"""Caption accuracy of generators whose score is known beforehand."""

from __future__ import annotations

import pytest
from known_generators import (
    CONCEPTS,
    HELD_OUT,
    Patterns,
    Pooled,
    accuracy,
    copying,
    evaluation,
    faithful,
    off_by_one,
)
from ldmkit_metrics.accuracy import CaptionAccuracy
from ldmkit_metrics.frechet import Frechet

from ldmkit.errors import UserError
from ldmkit.testing.metric import check_metric


def test_a_generator_that_returns_the_pictures_themselves_is_always_right():
    figures = accuracy(faithful)
    for split, captions in (("train", 2 * CONCEPTS - HELD_OUT), ("pairs", HELD_OUT)):
        assert figures[split]["captions"] == captions
        assert figures[split]["sample"]["first"] == figures[split]["sample"]["within_5"] == 1
    assert figures["train"]["sample"]["distance_to_training"] == pytest.approx(0, abs=1e-6)
    assert figures["pairs"]["sample"]["distance_to_training"] > 1e-4, "held-out pictures are not in training"
    assert figures["pairs"]["real"] == {
        "distance_to_training": pytest.approx(figures["pairs"]["sample"]["distance_to_training"])
    }


def test_a_generator_that_shows_other_concepts_is_never_first():
    figures = accuracy(off_by_one)
    assert figures["train"]["sample"]["first"] == figures["pairs"]["sample"]["first"] == 0


def test_held_out_pictures_compete_with_the_training_pictures_of_their_style_only():
    assert accuracy(faithful)["pairs"]["reference_pictures"] == {"a": CONCEPTS, "b": CONCEPTS}
    assert accuracy(faithful)["train"]["reference_pictures"] == {"a": CONCEPTS, "b": CONCEPTS - HELD_OUT}


def test_copying_the_other_style_scores_what_the_control_says():
    figures = accuracy(copying)["pairs"]
    control = figures["other_style"]
    assert control["captions"] == HELD_OUT
    assert {k: figures["sample"][k] for k in ("first", "within_5")} == {
        k: control[k] for k in ("first", "within_5")
    }
    assert figures["sample"]["distance_to_training"] == pytest.approx(0, abs=1e-6)


def test_blind_pictures_score_chance():
    """Each blind picture ranks each caption's concept once: 1 of n first, 5 of n within five, exactly."""
    figures = accuracy(faithful)["train"]["unconditional"]
    sizes = {"a": CONCEPTS, "b": CONCEPTS - HELD_OUT}
    captions = sum(sizes.values())
    assert figures["first"] == pytest.approx(sum(n / captions / n for n in sizes.values()))
    assert figures["within_5"] == pytest.approx(sum(5 / captions for _ in sizes))


def test_the_share_of_a_style_is_that_of_its_captions():
    def half_right(caption):
        return faithful(caption) if " a " in caption else off_by_one(caption)

    figures = accuracy(half_right)["train"]
    assert figures["sample/a"] == {"first": 1.0, "within_5": 1.0, "captions": CONCEPTS}
    assert figures["sample/b"]["first"] == 0
    assert figures["sample"]["first"] == pytest.approx(CONCEPTS / (2 * CONCEPTS - HELD_OUT))


def test_of_identical_pictures_none_counts_against_the_other():
    data = Patterns()
    for row in data.rows:
        row["image"] = data.rows[0]["image"] if row["concept"] in ("c9", "c10") else row["image"]
    pictures = {row["caption"]: row["image"] for row in data.rows}
    figures = check_metric(CaptionAccuracy(features=Pooled()), evaluation(pictures.__getitem__, data=data))
    assert figures["train"]["sample"]["first"] == 1


def test_captions_in_another_language_are_drawn_against_the_same_pictures():
    asked = []

    def speaks_korean(caption):
        asked.append(caption)
        return faithful(caption)

    figures = accuracy(speaks_korean, language="ko")
    assert figures["language"] == "ko"
    assert all(caption.startswith("ko ") for caption in asked)
    assert figures["pairs"]["sample"]["first"] == 1


def test_data_in_another_language_of_other_concepts_are_refused():
    wrong = evaluation(faithful)
    wrong.held["data", '{"language": "ko"}'].rows.reverse()
    with pytest.raises(UserError, match="other concepts"):
        CaptionAccuracy(features=Pooled(), language="ko")(wrong)


def test_the_contact_sheet_shows_sample_picture_and_nearest_training_picture():
    shared = evaluation(copying)
    CaptionAccuracy(features=Pooled(), splits=("pairs",), shown=2)(shared)
    (section,) = shared.sections
    assert len(section.rows) == 2
    for row in section.rows:
        sample, own, nearest = (p.tobytes() for p in row.pictures)
        assert sample == nearest != own


def test_captions_are_drawn_once_for_all_metrics():
    asked = []

    def counted(caption):
        asked.append(caption)
        return faithful(caption)

    shared = evaluation(counted)
    CaptionAccuracy(features=Pooled(), captions=8)(shared)
    Frechet(features=Pooled(), captions=8)(shared)
    assert len(asked) == len(set(asked)) == 8


def test_data_without_captions_are_refused():
    data = Patterns()
    data.fields = ("concept",)
    part = data.split
    data.split = lambda name: (lambda p: setattr(p, "fields", ("concept",)) or p)(part(name))
    with pytest.raises(UserError, match=r"the data have no .caption."):
        CaptionAccuracy(features=Pooled())(evaluation(faithful, data=data))


def test_an_unknown_split_is_the_users_error():
    with pytest.raises(UserError, match="no split 'held-out'"):
        CaptionAccuracy(features=Pooled(), splits=("held-out",))(evaluation(faithful))
