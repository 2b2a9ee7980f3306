"""CLIP score and retrieval on samples whose answers are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from ldmkit_clip.metrics import ClipRetrieval, ClipScore, score, shares
from ldmkit_clip.network import load_clip
from ldmkit_clip.sources import Network

from ldmkit.errors import UserError
from ldmkit.pictures import normalize
from ldmkit.testing.metric import check_metric


class Data(list):
    """Eight pictures of noise with captions, the last caption a second time."""

    fields = ("caption",)


def pixels(seed: int):
    return torch.randint(0, 256, (8, 3, 16, 16), generator=torch.Generator().manual_seed(seed)).byte()


@pytest.fixture
def evaluation():
    words = ["a fox", "an umbrella", "rain", "a red house", "stars", "bread and butter", "snow", "snow"]
    data = Data({"caption": word, "image": x} for word, x in zip(words, pixels(0), strict=True))
    drawn = []

    def sample(fields, seeds):
        """The data's own pictures, so that samples and real pictures must score alike."""
        drawn.append((fields, list(seeds)))
        return torch.stack(fields["picture"])

    return SimpleNamespace(
        data=lambda split: data,
        pixels=lambda split: pixels(0),
        conditions=lambda data, index: {
            "caption": [data[i]["caption"] for i in index],
            "picture": [data[i]["image"] for i in index],
        },
        sample=sample,
        error=lambda message: UserError(message),
        drawn=drawn,
    )


def test_the_score_is_the_mean_cosine_with_the_caption(tiny, evaluation):
    network = Network(path=str(tiny))
    figures = check_metric(ClipScore(network=network, captions=4, seed=3), evaluation)
    fields, seeds = evaluation.drawn[0]
    clip = load_clip(network)
    images, texts = clip.images(normalize(torch.stack(fields["picture"]))), clip.texts(fields["caption"])
    assert seeds == [3, 4, 5, 6]
    expected = 100 * float((images * texts).sum(1).clamp_min(0).mean())
    assert figures["clip_score_tiny"] == pytest.approx(expected, abs=1e-4)
    shuffled = 100 * float((images * texts[[3, 0, 1, 2]]).sum(1).clamp_min(0).mean())
    assert figures["clip_score_tiny_shuffled"] == pytest.approx(shuffled, abs=1e-4)
    assert figures["clip_score_tiny_real"] == pytest.approx(figures["clip_score_tiny"], abs=1e-4)
    assert figures["captions"] == 4


def test_retrieval_ranks_the_own_caption_among_all_different_ones():
    texts = torch.eye(7)
    pictures = torch.eye(7)
    pictures[1] = texts[0] * 0.9 + texts[1] * 0.1
    pictures[2] = torch.tensor([0.9, 0.8, 0.1, 0.7, 0.6, 0.5, 0.4])
    found = shares(pictures, texts, torch.arange(7))
    assert found == pytest.approx({"first": 5 / 7, "within_5": 6 / 7})


def test_captions_that_say_the_same_do_not_count_against_each_other():
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    pictures = texts.clone()
    assert shares(pictures, texts, torch.tensor([0, 0, 2])) == {"first": 1.0, "within_5": 1.0}


def test_a_cosine_below_zero_counts_as_zero():
    assert score(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([[1.0, 0.0]] * 2)) == 50


def test_retrieval_names_its_judge_and_controls(tiny, evaluation):
    figures = ClipRetrieval(network=Network(path=str(tiny)), captions=8)(evaluation)
    assert (figures["judge"], figures["captions"]) == ("tiny", 8)
    assert figures["sample"] == figures["real"]
    assert set(figures["shuffled"]) == {"first", "within_5"}


def test_data_without_captions_are_refused(tiny, evaluation):
    Data.fields, before = (), Data.fields
    try:
        with pytest.raises(UserError, match=r"the data have no .caption.; they have no fields"):
            ClipScore(network=Network(path=str(tiny)))(evaluation)
    finally:
        Data.fields = before


def test_captions_may_stand_in_another_field(tiny, evaluation):
    network = Network(path=str(tiny))
    by_caption = ClipScore(network=network)(evaluation)
    renamed = Data({"text": example["caption"], "image": example["image"]} for example in evaluation.data(""))
    renamed.fields = ("text",)
    conditions = evaluation.conditions(evaluation.data(""), range(8))
    evaluation.conditions = lambda _, index: {
        f: [values[i] for i in index] for f, values in conditions.items()
    }
    evaluation.data = lambda split: renamed
    assert ClipScore(network=network, field="text")(evaluation) == by_caption
