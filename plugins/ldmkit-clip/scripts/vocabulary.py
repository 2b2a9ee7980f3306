"""The word pieces of the shipped CLIP, English and Korean, and the vectors that its text tower begins with.

A vocabulary of words: the frequent English ones of BERT's list, those of the emoji's labels and tags in
both languages, and letters and syllables for what is in neither. Each begins with the vector that the
multilingual sentence encoder gives the word, reduced by principal components: words that no picture of the
training shows keep a meaning, and translations lie near each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import torch
from jaxtyping import Float
from ldmkit_text.multilingual import MultilingualText
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import NFKC, Lowercase, Sequence
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from torch import Tensor

FREQUENT = 14_000
"""English words of BERT's list, which begins with the most frequent."""
LETTERS = [*map(chr, range(33, 127))]
SPECIAL = ["[PAD]", "[UNK]", "[START]"]
END = "[END]"
"""The last of all: open_clip finds a text's end by its highest id."""
LENGTH = 24
SUFFIX = 0.3
"""How much of its vector a piece keeps that continues a word: a Korean particle says less than a word."""


def emoji_words() -> dict[str, set[str]]:
    """The words of all labels and tags, by language."""
    words: dict[str, set[str]] = {"en": set(), "ko": set()}
    for line in (files("ldmkit_data") / "emoji" / "index.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        for language, found in words.items():
            for text in (entry["label"][language], *entry["tags"][language]):
                found |= set(re.findall(r"[^\W_]+", text.lower()))
    return words


def frequent_words() -> list[str]:
    """The first English words of BERT's vocabulary."""
    listed = (files("ldmkit_text") / "data" / "bert-base-uncased.txt").read_text(encoding="utf-8").split("\n")
    return [w for w in listed if w.isascii() and w.isalpha() and len(w) > 2][:FREQUENT]


def pieces() -> list[str]:
    """The vocabulary in the order of its ids."""
    words = emoji_words()
    whole = dict.fromkeys([*LETTERS, *frequent_words(), *sorted(words["en"]), *sorted(words["ko"])])
    syllables = sorted({letter for word in words["ko"] for letter in word if "가" <= letter <= "힣"})
    endings = [
        f"##{letter}" for letter in [*"abcdefghijklmnopqrstuvwxyz0123456789", "ing", "ed", "es", *syllables]
    ]
    whole |= dict.fromkeys(syllables)
    return [*SPECIAL, *whole, *endings, END]


def tokenizer(vocabulary: list[str]) -> Tokenizer:
    """Lower case, words and punctuation apart, longest pieces first, [START] ... [END]."""
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    made = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    made.normalizer = Sequence([NFKC(), Lowercase()])
    made.pre_tokenizer = BertPreTokenizer()
    made.post_processor = TemplateProcessing(
        single=f"[START] $A {END}", special_tokens=[("[START]", ids["[START]"]), (END, ids[END])]
    )
    return made


def save_tokenizer(vocabulary: list[str], folder: Path) -> None:
    """The two files that transformers, and so open_clip, reads a tokenizer from."""
    tokenizer(vocabulary).save(str(folder / "tokenizer.json"), pretty=False)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": LENGTH,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "bos_token": "[START]",
        "eos_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


@torch.no_grad()
def vectors(vocabulary: list[str], width: int) -> Float[Tensor, "n width"]:
    """A vector a piece, of unit variance: the first principal components of the sentence encoder's."""
    encoder = MultilingualText(length=12, vector=True)
    found = torch.cat([_sentence(encoder, part) for part in _batches(vocabulary, 512)])
    centred = found - found.mean(0)
    basis = torch.linalg.svd(centred, full_matrices=False).Vh[:width]
    reduced = centred @ basis.T
    suffix = torch.tensor([SUFFIX if piece.startswith("##") else 1.0 for piece in vocabulary])
    special = torch.tensor([piece in (*SPECIAL, END) for piece in vocabulary])
    reduced = reduced / reduced.std() * suffix.unsqueeze(1)
    return torch.where(special.unsqueeze(1), 0.1 * torch.randn_like(reduced), reduced)


def _sentence(encoder: MultilingualText, words: list[str]) -> Float[Tensor, "n 512"]:
    raw = {"caption": [word.removeprefix("##") for word in words]}
    vector = encoder.encode(encoder.prepare(raw)).vector
    assert vector is not None
    return vector


def _batches(items: list[str], size: int) -> Iterable[list[str]]:
    return (items[i : i + size] for i in range(0, len(items), size))
