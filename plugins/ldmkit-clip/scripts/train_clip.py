"""Trains the CLIP that ldmkit-clip ships: emoji with their captions in English and Korean.

    python plugins/ldmkit-clip/scripts/train_clip.py FOLDER [--stop 550]

Writes FOLDER/open_clip_config.json, open_clip_model.safetensors (float16) and the tokenizer, which
`open_clip.create_model("local-dir:FOLDER")` reads, and FOLDER/log.jsonl with the retrieval of concepts that
are held out. After an interruption the same command goes on from what is in FOLDER/work.

The image tower is EfficientNet-Lite0 with ImageNet's weights, of which the first five of seven stages stay
as they are, so that their output is computed once; the text tower is a small transformer over the word
vectors of `vocabulary.py`, which stay too. The loss is CLIP's (Radford et al. 2021, figure 3). Pictures are
cropped, blurred and made noisy: guidance shows the network cut-outs of clean estimates, which are blurred.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import open_clip
import torch
from image_tower import KEPT, MEAN, SIDE, STD, cached, embedded
from jaxtyping import Float, Int, UInt8
from ldmkit_data.emoji.dataset import EmojiDataset
from ldmkit_features.efficientnet import EfficientNetLite0
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from vocabulary import LENGTH, pieces, save_tokenizer, vectors

WIDTH, EMBEDDING = 192, 256


def configuration(vocabulary: int) -> dict[str, Any]:
    """open_clip's own configuration of the network."""
    vision = {"timm_model_name": "tf_efficientnet_lite0", "timm_model_pretrained": False, "image_size": SIDE}
    text = {
        "context_length": LENGTH,
        "vocab_size": vocabulary,
        "hf_tokenizer_name": "local",
        "width": WIDTH,
        "heads": 4,
        "layers": 2,
    }
    return {
        "model_cfg": {
            "embed_dim": EMBEDDING,
            "vision_cfg": {**vision, "timm_pool": "avg", "timm_proj": "linear"},
            "text_cfg": text,
        },
        "preprocess_cfg": {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bilinear"},
    }


@dataclass(frozen=True)
class Examples:
    """Pictures of one split, their concept's number, and the captions of each in both languages."""

    pixels: UInt8[Tensor, "n 3 H W"]
    concepts: Int[Tensor, " n"]
    captions: list[list[str]]
    canonical: Mapping[str, list[str]]

    @classmethod
    def of(cls, split: str, size: int) -> Examples:
        """All pictures of a split; captions of one picture are those of every language."""
        data = {
            language: EmojiDataset(size=size, language=language).split(split) for language in ("en", "ko")
        }
        rows = {language: [part[i] for i in range(len(part))] for language, part in data.items()}
        names = sorted({row["concept"] for row in rows["en"]})
        return cls(
            torch.stack([row["image"] for row in rows["en"]]),
            torch.tensor([names.index(row["concept"]) for row in rows["en"]]),
            [[*en["captions"], *ko["captions"]] for en, ko in zip(rows["en"], rows["ko"], strict=True)],
            {language: [row["caption"] for row in part] for language, part in rows.items()},
        )


def contrastive(
    images: Float[Tensor, "b e"], texts: Float[Tensor, "b e"], scale: Tensor, concepts: Int[Tensor, " b"]
) -> Tensor:
    """CLIP's loss; another picture of the same concept is neither right nor wrong."""
    logits = scale * images @ texts.T
    same = (concepts.unsqueeze(1) == concepts) & ~torch.eye(len(concepts), dtype=torch.bool)
    logits = logits.masked_fill(same, -math.inf)
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


@torch.no_grad()
def retrieval(model: Any, tokenize: Any, held_out: Examples, features: Tensor) -> dict[str, float]:
    """How often a caption's concept is among the first one and five of the held-out pictures, by language."""
    model.eval()
    images = embedded(model.visual, features.float())
    figures = {}
    for language, captions in held_out.canonical.items():
        texts = model.encode_text(tokenize(captions), normalize=True)
        hits = held_out.concepts[(texts @ images.T).topk(5).indices] == held_out.concepts.unsqueeze(1)
        figures[f"{language}_first"] = round(float(hits[:, 0].float().mean()), 4)
        figures[f"{language}_within_5"] = round(float(hits.any(1).float().mean()), 4)
    return figures


def new_model(folder: Path) -> Any:
    """The untrained network: ImageNet's trunk, the word vectors, and the rest at random."""
    vocabulary = pieces()
    save_tokenizer(vocabulary, folder)
    config = configuration(len(vocabulary))
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    model: Any = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    model.visual.trunk.load_state_dict(EfficientNetLite0().network.state_dict())
    stored = folder / "work" / "vectors.pt"
    if not stored.exists():
        torch.save(vectors(vocabulary, WIDTH), stored)
    with torch.no_grad():
        model.token_embedding.weight.copy_(torch.load(stored, weights_only=True))
        model.logit_scale.fill_(math.log(20))
    model.token_embedding.requires_grad_(False)
    return model


class Training:
    """The network, its optimizer and where it stands."""

    def __init__(self, model: Any, steps: int) -> None:
        self.model, self.step = model, 0
        trunk = model.visual.trunk
        tuned = [*trunk.blocks[KEPT:].parameters(), *trunk.conv_head.parameters(), *trunk.bn2.parameters()]
        others = [p for n, p in model.named_parameters() if p.requires_grad and "visual.trunk" not in n]
        groups = [{"params": tuned, "lr": 2e-4}, {"params": others, "lr": 1e-3}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.1)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda n: min(1, (n + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * min(n / steps, 1))),
        )

    def update(self, loss: Tensor) -> None:
        """One step down the loss; the temperature stays within CLIP's bound."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=math.log(100))

    def save(self, path: Path) -> None:
        """Everything that is needed to go on."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "schedule")}
        torch.save({**parts, "step": self.step}, path)

    def load(self, path: Path) -> None:
        """Goes on from a checkpoint, where there is one."""
        if path.exists():
            state = torch.load(path, weights_only=True)
            for name in ("model", "optimizer", "schedule"):
                getattr(self, name).load_state_dict(state[name])
            self.step = int(state["step"])


def drawn(captions: list[list[str]], index: Tensor) -> list[str]:
    """One caption of each picture, in either language."""
    return [captions[i][int(torch.randint(len(captions[i]), ()))] for i in index.tolist()]


def train_mode(model: Any) -> None:
    """Training, but for the trunk's batch statistics, which stay ImageNet's."""
    model.train()
    model.visual.trunk.eval()


@click.command(help=(__doc__ or "").splitlines()[0])
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--steps", default=800, help="Length of the learning rate's cosine.")
@click.option("--stop", default=550, help="The last step.")
@click.option("--batch", default=96)
@click.option("--rounds", default=1, help="Augmentations of each picture.")
def main(folder: Path, steps: int, stop: int, batch: int, rounds: int) -> None:
    """Trains, measures every 50 steps, and writes the float16 weights."""
    torch.manual_seed(0)
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    model = new_model(folder)
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    train, held_out = Examples.of("train", SIDE), Examples.of("concepts", SIDE)
    features = torch.stack(cached(model.visual.trunk, train.pixels, rounds, work / "train"))
    unseen = cached(model.visual.trunk, held_out.pixels, 0, work / "held-out")[0]
    training = Training(model, steps)
    training.load(work / "checkpoint.pt")
    while training.step < stop:
        torch.manual_seed(training.step + 1)
        index = torch.randint(len(train.pixels), (batch,))
        train_mode(model)
        images = embedded(model.visual, features[torch.randint(rounds + 1, (batch,)), index].float())
        texts = model.encode_text(tokenize(drawn(train.captions, index)), normalize=True)
        loss = contrastive(images, texts, model.logit_scale.exp(), train.concepts[index])
        training.update(loss)
        if training.step % 50 == 0 or training.step == stop:
            record = {"step": training.step, "loss": round(loss.item(), 4)}
            record |= retrieval(model, tokenize, held_out, unseen)
            print(record, flush=True)
            with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
            training.save(work / "checkpoint.pt")
    half = {name: x.half() if x.is_floating_point() else x for name, x in model.state_dict().items()}
    save_file(half, folder / "open_clip_model.safetensors")


if __name__ == "__main__":
    main()
