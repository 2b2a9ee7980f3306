"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1
COMPONENTS = (
    (
        "conditioner",
        "text-transformer",
        "transformer:TextTransformer",
        "A transformer over word pieces that learns jointly with the denoiser.",
    ),
    (
        "conditioner",
        "pretrained-text",
        "pretrained:PretrainedText",
        "A pretrained text encoder from a folder, an installed package or a pinned hub revision.",
    ),
    (
        "conditioner",
        "paired-text",
        "paired:PairedText",
        "Two CLIP text encoders side by side, with the embedding of the whole text.",
    ),
    (
        "conditioner",
        "multilingual-text",
        "multilingual:MultilingualText",
        "A frozen sentence encoder that puts captions in 16 languages in one space.",
    ),
    (
        "conditioner",
        "class-embedding",
        "classes:ClassEmbedding",
        "A learned vector a class, as one token or for the time embedding.",
    ),
    (
        "keymap",
        "compvis/pretrained-text",
        "encoder_keys:CompvisPretrainedText",
        "CLIP text encoders of the single file.",
    ),
    (
        "keymap",
        "diffusers/pretrained-text",
        "encoder_keys:DiffusersPretrainedText",
        "text_encoder/ and tokenizer/ of a folder.",
    ),
    (
        "keymap",
        "diffusers/paired-text",
        "encoder_keys:DiffusersPairedText",
        "Both text encoders of Stable Diffusion XL.",
    ),
    (
        "keymap",
        "compvis/text-transformer",
        "keymap:CompvisTextTransformer",
        "BERTEmbedder of the published single file.",
    ),
    (
        "keymap",
        "diffusers/text-transformer",
        "keymap:DiffusersTextTransformer",
        "LDMBertModel of a Hugging Face folder.",
    ),
    (
        "keymap",
        "compvis/class-embedding",
        "keymap:CompvisClassEmbedding",
        "ClassEmbedder of the published single file.",
    ),
)


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Text transformer, pretrained text encoders, class and layout embeddings."""
    for kind, name, target, summary in COMPONENTS:
        registry.add(kind, name, f"ldmkit_text.{target}", summary)
