"""What the text transformer and the class embedding read and hand over."""

from __future__ import annotations

from importlib.resources import files

import pytest
import torch
from ldmkit_text.classes import ClassEmbedding
from ldmkit_text.transformer import TextTransformer
from ldmkit_text.wordpieces import VOCABULARY, encode_text

from ldmkit.testing.conditioner import check_conditioner
from ldmkit.types import Condition

CAPTIONS = [
    "a red fox",
    "",
    "Ünïcode CAFÉ, naïve; 東京 タワー!",
    "빨간 여우",
    "😀 grinning face",
    "word " * 100,
]
SMALL = {"width": 16, "layers": 2, "heads": 2, "head_channels": 8}
LAYOUTS = [[(3, 0.0, 0.0, 0.5, 0.25), (17, 0.5, 0.5, 0.5, 0.5)], []]


def test_contract():
    check_conditioner(TextTransformer(**SMALL, length=12), {"caption": CAPTIONS[:4]})
    check_conditioner(
        TextTransformer(**SMALL, length=11, vocabulary=100, tokenizer="boxes", field="layout"),
        {"layout": LAYOUTS},
    )
    check_conditioner(
        TextTransformer(**SMALL, length=5, vocabulary=9, tokenizer="ids"), {"caption": [[1, 2], [8, 0]]}
    )
    check_conditioner(ClassEmbedding(classes=5, width=8), {"label": [0, 4]})
    check_conditioner(
        ClassEmbedding(classes=5, width=8, unconditional=4, to="vector"), {"label": torch.tensor([1, 2])}
    )


def test_word_pieces_are_those_of_bert_base_uncased():
    from transformers import BertTokenizer

    vocabulary = files("ldmkit_text") / "data" / "bert-base-uncased.txt"
    lines = vocabulary.read_text(encoding="utf-8").splitlines()
    theirs = BertTokenizer(vocab={w: i for i, w in enumerate(lines)}, do_lower_case=True)
    expected = theirs(CAPTIONS, padding="max_length", truncation=True, max_length=77)["input_ids"]
    assert encode_text(CAPTIONS, 77).tolist() == expected
    assert len(lines) == VOCABULARY


def test_word_pieces_known_from_elsewhere():
    assert encode_text(["a red fox"], 7).tolist() == [[101, 1037, 2417, 4419, 102, 0, 0]]
    assert encode_text(["a red fox"], 4).tolist() == [[101, 1037, 2417, 102]]


def test_ids_pass_through_and_are_filled_up():
    module = TextTransformer(**SMALL, length=6)
    assert module.prepare({"caption": [[101, 102]]})["caption"].tolist() == [[101, 102, 0, 0, 0, 0]]
    given = torch.tensor([[101, 5, 102, 0, 0, 0]])
    assert torch.equal(module.prepare({"caption": given.int()})["caption"], given)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([[1] * 7], "7 ids; at most 6"),
        ([[30522]], "ids from 30522 to 30522; the vocabulary has 0 to 30521"),
        ([[-1]], "ids from -1"),
        ("a red fox", "caption: expects a list of strings"),
        ([[0.5]], "float32"),
        ([1, 2], "shape"),
        ([[1], [1, 2]], "expects a list of strings, or ids"),
        (None, "expects a list of strings"),
    ],
)
def test_what_is_no_caption_is_refused(raw, message):
    with pytest.raises(ValueError, match=message):
        TextTransformer(**SMALL, length=6).prepare({"caption": raw})


@pytest.mark.parametrize("raw", [[("a", "b")], [{"en": "a"}], [None]])
def test_a_caption_of_another_type_is_shown(raw):
    with pytest.raises(ValueError, match="caption: expects a list of strings") as caught:
        TextTransformer(**SMALL, length=6).prepare({"caption": raw})
    assert str(caught.value).endswith(f"; not {raw[0]!r}")


def test_null_is_the_encoded_empty_string():
    module = TextTransformer(**SMALL, length=8).eval()
    with torch.no_grad():
        given = module.encode(module.prepare({"caption": ["a", "b", "c"]}))
        empty = module.encode(module.prepare({"caption": [""]}))
        null = module.null(given)
    assert null.tokens.shape == given.tokens.shape
    assert torch.allclose(null.tokens, empty.tokens.expand_as(given.tokens), atol=1e-6)


def test_it_learns_from_the_denoiser():
    module = TextTransformer(**SMALL, length=8)
    condition = module.encode(module.prepare({"caption": ["a red fox"]}))
    (condition.tokens.square().sum() + module.null(condition).tokens.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_kept_logits_are_not_trained():
    module = TextTransformer(**SMALL, length=8, logits=True)
    kept = {"transformer.to_logits.weight", "transformer.to_logits.bias"}
    assert not kept & dict(module.named_parameters()).keys()
    assert kept <= module.state_dict().keys()


def test_boxes_become_the_published_tokens():
    module = TextTransformer(**SMALL, length=92, vocabulary=8192, tokenizer="boxes", field="layout")
    ids = module.prepare({"layout": LAYOUTS})["layout"]
    side = 90  # the largest whole number whose square is not above 8192
    first = [3, 0, round(0.25 * 89) * side + round(0.5 * 89)]
    assert ids.shape == (2, 92)
    assert ids[0, :3].tolist() == first
    assert ids[0, 3] == 17
    assert ids[0, 5] == ids[0, 91] == 89 * side + 89
    assert set(ids[0, 6:90].tolist()) == set(ids[1, :90].tolist()) == {8191}
    assert ids[1, 90:].tolist() == [0, 89 * side + 89]
    null = module.null(Condition(tokens=torch.zeros(1, 92, 16))).tokens
    assert torch.allclose(null, module.encode({"layout": ids[1:]}).tokens, atol=1e-6)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ([[(3, 0.8, 0, 0.3, 1)]], "within the picture"),
        ([[(99, 0, 0, 1, 1)]], "class 99; expects an integer from 0 to 98"),
        ([[(1.5, 0, 0, 1, 1)]], "class 1.5"),
        ([[(1, 0, 0, 1)]], r"an object is five numbers, \[class, x, y, width, height\], not \[1, 0, 0, 1\]"),
        ([[("eyes", 0, 0, 1, 1)]], r"five numbers, .*, not \['eyes', 0, 0, 1, 1\]"),
        ([[(1, float("nan"), 0, 1, 1)]], "five numbers"),
        ([{"label": "eyes"}], r"a list of objects \[class, x, y, width, height\] for each picture"),
        ([[(1, 0, 0, 1, 1)] * 4], "4 objects; at most 3"),
        ([[1, 2, 3]], "3 ids; 11 are read"),
    ],
)
def test_what_is_no_layout_is_refused(layout, message):
    module = TextTransformer(**SMALL, length=11, vocabulary=100, tokenizer="boxes", field="layout")
    with pytest.raises(ValueError, match=message):
        module.prepare({"layout": layout})


def test_captions_that_are_cut_are_named():
    """[CLS] and [SEP] count: of 8 tokens 6 are left for words, and an unknown word may be several."""
    module = TextTransformer(**SMALL, length=8)
    fits, cut = "a red fox on the grass", "a red fox on the green grass"
    assert torch.equal(
        module.prepare({"caption": [cut]})["caption"],
        module.prepare({"caption": [cut + " today"]})["caption"],
    )
    assert module.unread({"caption": [fits, cut]}) == [
        f"caption: only the first 8 tokens are read of '{cut}'"
    ]
    assert module.unread({"caption": torch.zeros(1, 8, dtype=torch.long)}) == []
    layout = TextTransformer(**SMALL, length=11, vocabulary=100, tokenizer="boxes", field="layout")
    assert layout.unread({"layout": [[(1, 0, 0, 1, 1)]]}) == []


def test_a_length_that_holds_no_layout_is_refused():
    with pytest.raises(ValueError, match="length 12"):
        TextTransformer(**SMALL, length=12, tokenizer="boxes")


@pytest.mark.parametrize("labels", [[5], [-1], [0.5], ["cat"], [[1]], None, [True]])
def test_what_is_no_class_is_refused(labels):
    with pytest.raises(ValueError, match="label: expects class ids from 0 to 4"):
        ClassEmbedding(classes=5, width=8).prepare({"label": labels})


def test_a_class_that_is_a_text_is_shown():
    with pytest.raises(ValueError, match="one a picture; not '3'"):
        ClassEmbedding(classes=5, width=8).prepare({"label": ["3", "4"]})


def test_the_unconditional_class_must_exist():
    with pytest.raises(ValueError, match="unconditional 5 is none of the 5 classes"):
        ClassEmbedding(classes=5, unconditional=5)


@pytest.mark.parametrize("label", [[0, 1], {"a": 1}, 10**30, None, 1.5])
def test_beside_names_only_ids_are_taken(label):
    with pytest.raises(ValueError, match="expects class ids from 0 to 2, one a picture"):
        ClassEmbedding(names=["red", "blue"], width=8).prepare({"label": [label]})
