"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Data sets: picture folders and emoji."""
    registry.add(
        "data",
        "fluent-emoji",
        "ldmkit_data.emoji.dataset:EmojiDataset",
        "Fluent 3D and Noto emoji with words, shipped with the package.",
    )
    registry.add(
        "data",
        "emoji",
        "ldmkit_data.emoji.styles:EmojiStyles",
        "Emoji in six styles at 128 pixels, with words in English and Korean, shipped with the package.",
    )
    registry.add(
        "data",
        "union",
        "ldmkit_data.union:Union",
        "Several data sets as one.",
    )
    registry.add(
        "data",
        "image-folder",
        "ldmkit_data.image_folder:ImageFolder",
        "A folder of pictures with metadata.jsonl, .txt files or class sub-folders.",
    )
