"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Text transformer, pretrained text encoders, class and layout embeddings."""
    registry.add(
        "conditioner",
        "text-transformer",
        "ldmkit_text.transformer:TextTransformer",
        "A transformer over word pieces that learns jointly with the denoiser.",
    )
    registry.add(
        "conditioner",
        "pretrained-text",
        "ldmkit_text.pretrained:PretrainedText",
        "A pretrained text encoder from a folder, an installed package or a pinned hub revision.",
    )
    registry.add(
        "conditioner",
        "paired-text",
        "ldmkit_text.paired:PairedText",
        "Two CLIP text encoders side by side, with the embedding of the whole text.",
    )
    registry.add(
        "conditioner",
        "multilingual-text",
        "ldmkit_text.multilingual:MultilingualText",
        "A frozen sentence encoder that puts captions in 16 languages in one space.",
    )
    registry.add(
        "conditioner",
        "class-embedding",
        "ldmkit_text.classes:ClassEmbedding",
        "A learned vector a class, as one token or for the time embedding.",
    )
    for name, attribute, summary in (
        ("compvis/pretrained-text", "CompvisPretrainedText", "CLIP text encoders of the single file."),
        ("diffusers/pretrained-text", "DiffusersPretrainedText", "text_encoder/ and tokenizer/ of a folder."),
        ("diffusers/paired-text", "DiffusersPairedText", "Both text encoders of Stable Diffusion XL."),
    ):
        registry.add("keymap", name, f"ldmkit_text.encoder_keys:{attribute}", summary)
    for name, attribute, summary in (
        ("compvis/text-transformer", "CompvisTextTransformer", "BERTEmbedder of the published single file."),
        ("diffusers/text-transformer", "DiffusersTextTransformer", "LDMBertModel of a Hugging Face folder."),
        ("compvis/class-embedding", "CompvisClassEmbedding", "ClassEmbedder of the published single file."),
    ):
        registry.add("keymap", name, f"ldmkit_text.keymap:{attribute}", summary)
